/**
 * The roads that simulated trucks follow: a few real corridors, as lines of towns about 20 to 60 km
 * apart, with bends drawn between them. Distances on a sphere; a position is so many metres from the start.
 */
import type { SimulatedRandom } from "../src/base/random-simulated.ts";

interface Point {
	readonly latitude: number;
	readonly longitude: number;
}

const EARTH_RADIUS_METRES = 6_371_000;
const RADIANS = Math.PI / 180;

/** Towns along a road, as latitude and longitude in degrees. */
const CORRIDORS: readonly (readonly (readonly [number, number])[])[] = [
	// Hamburg, Soltau, Hannover, Hildesheim, Goettingen, Kassel
	[
		[53.551, 9.994],
		[52.986, 9.844],
		[52.375, 9.732],
		[52.151, 9.951],
		[51.541, 9.916],
		[51.313, 9.481],
	],
	// Rotterdam, Breda, Antwerp, Brussels, Namur, Luxembourg
	[
		[51.924, 4.477],
		[51.589, 4.776],
		[51.22, 4.402],
		[50.85, 4.352],
		[50.467, 4.867],
		[49.612, 6.13],
	],
	// Lyon, Vienne, Valence, Montelimar, Orange, Avignon, Aix, Marseille
	[
		[45.764, 4.836],
		[45.525, 4.874],
		[44.933, 4.892],
		[44.558, 4.75],
		[44.138, 4.808],
		[43.949, 4.806],
		[43.53, 5.447],
		[43.296, 5.37],
	],
	// Milan, Piacenza, Parma, Modena, Bologna
	[
		[45.464, 9.19],
		[45.052, 9.693],
		[44.801, 10.328],
		[44.647, 10.925],
		[44.494, 11.343],
	],
];
/** Metres between two bends, about. */
const BEND_EVERY_METRES = 1500;

export class Road {
	readonly lengthMetres: number;
	readonly #points: readonly Point[];
	/** Metres from the start to each point. */
	readonly #metres: number[] = [0];

	constructor(points: readonly Point[]) {
		if (points.length < 2) throw new RangeError("a road has two points at least");
		this.#points = points;
		for (let i = 1; i < points.length; i++) {
			this.#metres.push(this.#metres[i - 1]! + distanceMetres(points[i - 1]!, points[i]!));
		}
		this.lengthMetres = this.#metres[this.#metres.length - 1]!;
	}

	/** One of the corridors between two neighbouring towns or more, with bends of its own. */
	static pick(random: SimulatedRandom): Road {
		const towns = random.pick(CORRIDORS);
		const first = random.between(0, towns.length - 2);
		const last = random.between(first + 1, Math.min(towns.length - 1, first + 2));
		const points: Point[] = [];
		for (let i = first; i < last; i++) {
			const from = { latitude: towns[i]![0], longitude: towns[i]![1] };
			const to = { latitude: towns[i + 1]![0], longitude: towns[i + 1]![1] };
			const pieces = Math.max(1, Math.round(distanceMetres(from, to) / BEND_EVERY_METRES));
			for (let piece = 0; piece < pieces; piece++) {
				// Up to about 200 m off the straight line; the towns themselves stay where they are.
				const off = piece === 0 ? 0 : 0.004 * (random.fraction() - 0.5);
				points.push({
					latitude: from.latitude + ((to.latitude - from.latitude) * piece) / pieces + off,
					longitude: from.longitude + ((to.longitude - from.longitude) * piece) / pieces - off,
				});
			}
		}
		points.push({ latitude: towns[last]![0], longitude: towns[last]![1] });
		return new Road(points);
	}

	/** Where one is `metres` from the start; the bearing is that of the road towards its end, 0 north, 90 east. */
	at(metres: number): Point & { readonly bearingDegrees: number } {
		const piece = this.#pieceAt(metres);
		const from = this.#points[piece]!;
		const to = this.#points[piece + 1]!;
		const start = this.#metres[piece]!;
		const part = (metres - start) / (this.#metres[piece + 1]! - start);
		const north = to.latitude - from.latitude;
		const east = (to.longitude - from.longitude) * Math.cos(from.latitude * RADIANS);
		return {
			latitude: from.latitude + north * part,
			longitude: from.longitude + (to.longitude - from.longitude) * part,
			bearingDegrees: (Math.atan2(east, north) / RADIANS + 360) % 360,
		};
	}

	/** Metres from `metres` to the next bend (or end of the road), going towards the end (1) or the start (-1). */
	metresToBend(metres: number, direction: 1 | -1): number {
		const piece = this.#pieceAt(metres);
		return direction === 1 ? this.#metres[piece + 1]! - metres : metres - this.#metres[piece]!;
	}

	#pieceAt(metres: number): number {
		let low = 0;
		let high = this.#points.length - 2;
		while (low < high) {
			const middle = (low + high + 1) >>> 1;
			if (this.#metres[middle]! <= metres) low = middle;
			else high = middle - 1;
		}
		return low;
	}
}

/** By the haversine formula. */
export function distanceMetres(a: Point, b: Point): number {
	const north = ((b.latitude - a.latitude) * RADIANS) / 2;
	const east = ((b.longitude - a.longitude) * RADIANS) / 2;
	const half =
		Math.sin(north) ** 2 + Math.cos(a.latitude * RADIANS) * Math.cos(b.latitude * RADIANS) * Math.sin(east) ** 2;
	return 2 * EARTH_RADIUS_METRES * Math.asin(Math.min(1, Math.sqrt(half)));
}
