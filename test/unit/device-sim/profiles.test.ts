import { describe, expect, it } from "vitest";
import { createProfile, PROFILE_NAMES, type ProfileName } from "../../../device-sim/profiles.ts";
import { distanceMetres } from "../../../device-sim/road.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

const measured = (name: ProfileName, seed: string, seconds: number, step: number) => {
	const profile = createProfile(name, new SimulatedRandom(seed));
	return Array.from(
		{ length: Math.round(seconds / step) },
		(_, i) => profile.measure(i * step) as Record<string, number>,
	);
};
const seeds = Array.from({ length: 12 }, (_, i) => `seed ${i}`);

describe("device profiles", () => {
	it.each(PROFILE_NAMES)("%s: the same seed gives the same values, another seed others", (name) => {
		expect(measured(name, "a", 60, 0.2)).toEqual(measured(name, "a", 60, 0.2));
		expect(measured(name, "a", 60, 0.2)).not.toEqual(measured(name, "b", 60, 0.2));
	});

	it("temperature stays in a room's or a cold store's range, moves slowly, and is noisy", () => {
		for (const seed of seeds) {
			const celsius = measured("temperature", seed, 1800, 1).map((values) => values.temperature_c!);
			expect(Math.min(...celsius)).toBeGreaterThan(-28);
			expect(Math.max(...celsius)).toBeLessThan(33);
			const steps = celsius.slice(1).map((value, i) => Math.abs(value - celsius[i]!));
			expect(Math.max(...steps)).toBeLessThan(0.6);
			expect(steps.filter((step) => step > 0).length).toBeGreaterThan(1500);
			expect(Math.max(...celsius) - Math.min(...celsius)).toBeGreaterThan(0.3);
		}
	});

	it("a truck moves as fast as it says, along a road, and slower than 90 km/h", () => {
		for (const seed of seeds) {
			const positions = measured("truck", seed, 1200, 1);
			const at = (i: number) => ({ latitude: positions[i]!.latitude!, longitude: positions[i]!.longitude! });
			let driven = 0;
			for (let i = 10; i < positions.length; i += 10) {
				const metres = distanceMetres(at(i - 10), at(i));
				// Bends and the receiver's noise: some metres either way.
				expect(metres).toBeLessThan(10 * 25 + 30);
				driven += metres;
			}
			expect(Math.max(...positions.map((values) => values.speed_kmh!))).toBeLessThanOrEqual(85);
			expect(Math.min(...positions.map((values) => values.speed_kmh!))).toBeGreaterThanOrEqual(0);
			const odometer = (positions.at(-1)!.odometer_km! - positions[0]!.odometer_km!) * 1000;
			expect(odometer).toBeGreaterThan(2000);
			expect(Math.abs(driven - odometer) / odometer).toBeLessThan(0.1);
			for (const { latitude, longitude } of positions) {
				expect(latitude! > 43 && latitude! < 54 && longitude! > 4 && longitude! < 12).toBe(true);
			}
		}
	});

	it("vibration is quiet between bursts and shakes at the start of one", () => {
		for (const seed of seeds) {
			const profile = createProfile("vibration", new SimulatedRandom(seed));
			for (let burst = 0; burst < 30; burst++) {
				const rms = Array.from({ length: 10 }, (_, i) => profile.measure(burst * 4 + i * 0.02).rms_g!);
				expect(Math.max(...rms)).toBeLessThan(9);
				if (burst > 0) expect(rms[0]!).toBeGreaterThan(0.3);
			}
			const steady = createProfile("vibration", new SimulatedRandom(seed));
			const quiet = Array.from({ length: 100 }, (_, i) => steady.measure(i * 0.1).rms_g!);
			expect(Math.min(...quiet)).toBeLessThan(0.06);
		}
	});

	it("a meter only ever counts up, by the power it shows", () => {
		for (const seed of seeds) {
			const readings = measured("meter", seed, 600, 1);
			for (let i = 1; i < readings.length; i++) {
				const added = readings[i]!.energy_wh! - readings[i - 1]!.energy_wh!;
				expect(added).toBeGreaterThan(0);
				expect(added).toBeCloseTo(readings[i - 1]!.power_w! / 3600, 2);
				expect(readings[i]!.voltage_v!).toBeGreaterThan(215);
				expect(readings[i]!.voltage_v!).toBeLessThan(245);
			}
		}
	});
});
