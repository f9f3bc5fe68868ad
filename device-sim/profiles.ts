/**
 * What a device measures. Each profile is a small physical model, stepped from event to event by the
 * time between them, and draws only from the randomness it is given: the same seed gives the same
 * values. Units stand in the names of the values.
 */
import type { SimulatedRandom } from "../src/base/random-simulated.ts";
import type { Values } from "./event.ts";
import { Road } from "./road.ts";

export const PROFILE_NAMES = ["temperature", "truck", "vibration", "meter"] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export interface Profile {
	/** The values at `elapsedSeconds` of the run; called with times that never fall. */
	measure(elapsedSeconds: number): Values;
}

const round = (value: number, digits: number) => Math.round(value * 10 ** digits) / 10 ** digits;

/** Normally distributed, by Box and Muller's transform. */
function gaussian(random: SimulatedRandom, deviation: number): number {
	return deviation * Math.sqrt(-2 * Math.log(1 - random.fraction())) * Math.cos(2 * Math.PI * random.fraction());
}

/** A room or a cold store: a slow wave, a drift that is drawn back to it, the sensor's noise, a battery running down. */
class Temperature implements Profile {
	readonly #random: SimulatedRandom;
	readonly #meanCelsius: number;
	readonly #swingCelsius: number;
	readonly #periodSeconds: number;
	readonly #phase: number;
	#driftCelsius = 0;
	#batteryVolts: number;
	#lastSeconds = 0;

	constructor(random: SimulatedRandom) {
		this.#random = random;
		this.#meanCelsius = random.chance(0.25) ? random.between(-22, -16) : random.between(16, 27);
		this.#swingCelsius = 0.5 + 2 * random.fraction();
		this.#periodSeconds = random.between(600, 3600);
		this.#phase = 2 * Math.PI * random.fraction();
		this.#batteryVolts = 3.2 + 0.4 * random.fraction();
	}

	measure(elapsedSeconds: number): Values {
		const step = elapsedSeconds - this.#lastSeconds;
		this.#lastSeconds = elapsedSeconds;
		// Ornstein and Uhlenbeck's process, five minutes to forget: it wanders by about 0.4 degrees and comes back.
		const keep = Math.exp(-step / 300);
		this.#driftCelsius = this.#driftCelsius * keep + gaussian(this.#random, 0.4 * Math.sqrt(1 - keep * keep));
		this.#batteryVolts = Math.max(2.6, this.#batteryVolts - step * 2e-7);
		const wave = this.#swingCelsius * Math.sin(this.#phase + (2 * Math.PI * elapsedSeconds) / this.#periodSeconds);
		const celsius = this.#meanCelsius + wave + this.#driftCelsius + gaussian(this.#random, 0.03);
		const humidity = 55 - 3 * (wave + this.#driftCelsius) + gaussian(this.#random, 0.4);
		return {
			temperature_c: round(celsius, 2),
			humidity_percent: round(Math.min(100, Math.max(0, humidity)), 1),
			battery_v: round(this.#batteryVolts, 3),
		};
	}
}

/** A truck that follows its road: accelerates, slows down for bends and towns, rests at the end, turns round. */
class Truck implements Profile {
	readonly #random: SimulatedRandom;
	readonly #road: Road;
	#metres: number;
	#direction: 1 | -1 = 1;
	#speedMetresPerSecond: number;
	#limitMetresPerSecond = 22;
	#restUntilSeconds = 0;
	#nextLimitMetres = 0;
	#drivenMetres: number;
	#lastSeconds = 0;

	constructor(random: SimulatedRandom) {
		this.#random = random;
		this.#road = Road.pick(random);
		this.#metres = random.fraction() * this.#road.lengthMetres;
		this.#direction = random.chance(0.5) ? 1 : -1;
		this.#speedMetresPerSecond = 10 + 12 * random.fraction();
		this.#drivenMetres = random.between(20_000, 900_000) * 1000;
	}

	measure(elapsedSeconds: number): Values {
		// At most a second at a time, so that a slow rate does not jump over a bend.
		while (this.#lastSeconds < elapsedSeconds) {
			const step = Math.min(1, elapsedSeconds - this.#lastSeconds);
			this.#lastSeconds += step;
			this.#drive(step);
		}
		const { latitude, longitude, bearingDegrees } = this.#road.at(this.#metres);
		// A receiver's noise of about three metres; 1e-5 degrees of latitude are 1.1 m.
		const north = gaussian(this.#random, 2.7e-5);
		const east = gaussian(this.#random, 2.7e-5) / Math.cos((latitude * Math.PI) / 180);
		return {
			latitude: round(latitude + north, 6),
			longitude: round(longitude + east, 6),
			speed_kmh: round(this.#speedMetresPerSecond * 3.6, 1),
			heading_degrees: round(this.#direction === 1 ? bearingDegrees : (bearingDegrees + 180) % 360, 0) % 360,
			odometer_km: round(this.#drivenMetres / 1000, 2),
		};
	}

	#drive(step: number): void {
		if (this.#drivenMetres >= this.#nextLimitMetres) {
			// Town, country road, motorway: 50, 60, 80 and 85 km/h, for half a kilometre to five.
			this.#limitMetresPerSecond = this.#random.pick([50, 60, 80, 85]) / 3.6;
			this.#nextLimitMetres = this.#drivenMetres + this.#random.between(500, 5000);
		}
		const bend = this.#road.metresToBend(this.#metres, this.#direction);
		const wanted = this.#lastSeconds < this.#restUntilSeconds ? 0 : Math.min(this.#limitMetresPerSecond, 8 + bend / 12);
		const change = wanted - this.#speedMetresPerSecond;
		// 0.8 m/s2 up, 1.5 m/s2 down: a loaded truck.
		this.#speedMetresPerSecond += Math.max(-1.5 * step, Math.min(0.8 * step, change));
		const metres = Math.max(0, this.#speedMetresPerSecond) * step;
		this.#metres += metres * this.#direction;
		this.#drivenMetres += metres;
		if (this.#metres > 0 && this.#metres < this.#road.lengthMetres) return;
		this.#metres = Math.min(this.#road.lengthMetres, Math.max(0, this.#metres));
		this.#direction = this.#direction === 1 ? -1 : 1;
		this.#speedMetresPerSecond = 0;
		this.#restUntilSeconds = this.#lastSeconds + this.#random.between(30, 300);
	}
}

/** A machine's bearing: quiet, and now and then a shock that rings out. */
class Vibration implements Profile {
	readonly #random: SimulatedRandom;
	readonly #idleG: number;
	readonly #frequencyHertz: number;
	#shockG = 0;
	#lastSeconds = 0;

	constructor(random: SimulatedRandom) {
		this.#random = random;
		this.#idleG = 0.01 + 0.03 * random.fraction();
		this.#frequencyHertz = random.between(25, 180);
	}

	measure(elapsedSeconds: number): Values {
		const step = elapsedSeconds - this.#lastSeconds;
		this.#lastSeconds = elapsedSeconds;
		// Rings out with a time constant of 0.3 s. A pause is the end of a burst; the next begins with a shock.
		this.#shockG *= Math.exp(-step / 0.3);
		if (step > 0.15 || this.#random.chance(0.02)) this.#shockG += 0.5 + 5.5 * this.#random.fraction() ** 2;
		const rms = this.#idleG + this.#shockG * (0.6 + 0.1 * this.#random.fraction());
		return {
			rms_g: round(rms, 4),
			peak_g: round(rms * (1.4 + 0.8 * this.#random.fraction()), 4),
			frequency_hz: round(this.#frequencyHertz + gaussian(this.#random, 0.5), 1),
		};
	}
}

/** An electricity meter: energy only ever counts up, by the power drawn; appliances switch on and off. */
class Meter implements Profile {
	readonly #random: SimulatedRandom;
	readonly #baseWatts: number;
	#applianceWatts = 0;
	#switchAtSeconds = 0;
	#powerWatts: number;
	#energyWattHours: number;
	#lastSeconds = 0;

	constructor(random: SimulatedRandom) {
		this.#random = random;
		this.#baseWatts = random.between(60, 400);
		this.#powerWatts = this.#baseWatts;
		this.#energyWattHours = random.between(1_000, 60_000) * 1000;
	}

	measure(elapsedSeconds: number): Values {
		const step = elapsedSeconds - this.#lastSeconds;
		this.#lastSeconds = elapsedSeconds;
		this.#energyWattHours += (this.#powerWatts * step) / 3600;
		if (elapsedSeconds >= this.#switchAtSeconds) {
			this.#applianceWatts = this.#random.chance(0.5) ? this.#random.pick([90, 800, 1500, 2000, 3500]) : 0;
			this.#switchAtSeconds = elapsedSeconds + this.#random.between(5, 120);
		}
		this.#powerWatts = Math.max(1, this.#baseWatts + this.#applianceWatts + gaussian(this.#random, 4));
		return {
			energy_wh: round(this.#energyWattHours, 3),
			power_w: round(this.#powerWatts, 1),
			voltage_v: round(230 + gaussian(this.#random, 1.2) - this.#powerWatts / 1500, 1),
		};
	}
}

export function createProfile(name: ProfileName, random: SimulatedRandom): Profile {
	switch (name) {
		case "temperature":
			return new Temperature(random);
		case "truck":
			return new Truck(random);
		case "vibration":
			return new Vibration(random);
		case "meter":
			return new Meter(random);
	}
}
