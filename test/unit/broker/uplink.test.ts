/** The link's budget: bytes a second, a day and a month; over restarts, crashes and steps of the clock. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Uplink, type UplinkOptions, type UplinkPriority } from "../../../src/broker/uplink.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FREE: UplinkOptions = { bytesPerSecond: 0, bytesPerDay: 0, bytesPerMonth: 0, reservePercent: 0 };

/** By the local clock. */
const at = (text: string): number => Date.parse(`${text}:00`);

/** A link whose counts outlive it. */
class Link {
	readonly clock: SimulatedClock;
	readonly options: UplinkOptions;
	uplink: Uplink;
	row: Uint8Array | undefined;
	saves = 0;
	isFull = false;
	/** Bytes and when they went, in milliseconds from the beginning. */
	readonly sent: [bytes: number, ms: number][] = [];
	readonly abort = new AbortController();

	constructor(options: Partial<UplinkOptions>, start = "2026-11-10T08:00") {
		this.clock = new SimulatedClock({ startMs: at(start) });
		this.options = { ...FREE, ...options };
		this.uplink = this.open();
	}

	open(): Uplink {
		return new Uplink(this.options, this.clock, {
			load: () => this.row,
			save: (row) => {
				if (this.isFull) throw new Error("no space");
				this.row = Uint8Array.from(row);
				this.saves++;
			},
		});
	}

	restart(clean: boolean): void {
		if (clean) this.uplink.settle();
		this.uplink = this.open();
	}

	/** Asks, and notes when it may be sent. */
	send(bytes: number, priority?: UplinkPriority): void {
		this.uplink.take(bytes, this.abort.signal, priority).then(
			() => this.sent.push([bytes, this.clock.monotonic()]),
			() => {},
		);
	}

	get sentBytes(): number {
		return this.sent.reduce((sum, [bytes]) => sum + bytes, 0);
	}

	/** Sends parts without end. */
	async flood(ms: number, bytes: number): Promise<void> {
		const end = new AbortController();
		const loop = async (): Promise<void> => {
			for (;;) {
				await this.uplink.take(bytes, end.signal);
				this.sent.push([bytes, this.clock.monotonic()]);
			}
		};
		const done = loop().catch(() => {});
		await this.clock.advance(ms);
		end.abort(new Error("enough"));
		await done;
	}
}

describe("the uplink", () => {
	it("without limits lets all go at once, and counts it", async () => {
		const link = new Link({});
		for (let i = 0; i < 10; i++) link.send(1_000_000);
		await link.clock.settle();
		expect(link.sent).toHaveLength(10);
		expect(link.uplink.left()).toBeUndefined();
		expect(link.uplink.report()).toMatchObject({
			day: { bytes: 10_000_000, left: undefined, resetsMs: at("2026-11-11T00:00") },
			month: { bytes: 10_000_000, left: undefined, resetsMs: at("2026-12-01T00:00") },
		});
		expect(link.uplink.blockedUntilMs(1e12)).toBeUndefined();
	});

	it("holds to its bytes a second, whatever the size of what is sent, in the order asked", async () => {
		for (const bytes of [1000, 65_536, 1_000_000]) {
			const link = new Link({ bytesPerSecond: 10_000 });
			for (let i = 0; i < 2_000_000 / bytes; i++) link.send(bytes);
			await link.clock.advance(100_000);
			// What is under way when time is up counts too.
			expect(link.sentBytes).toBeGreaterThan(990_000);
			expect(link.sentBytes).toBeLessThanOrEqual(1_000_000 + 2500 + bytes);
		}
		const link = new Link({ bytesPerSecond: 1000 });
		for (const bytes of [5000, 1, 3000, 2]) link.send(bytes);
		await link.clock.advance(10_000);
		expect(link.sent.map(([bytes]) => bytes)).toEqual([5000, 1, 3000, 2]);
	});

	it("does not save up what was not used: after a pause no more than a short burst leaves at once", async () => {
		const link = new Link({ bytesPerSecond: 1000 });
		await link.clock.advance(HOUR);
		for (let i = 0; i < 100; i++) link.send(100);
		await link.clock.settle();
		expect(link.sentBytes).toBeLessThanOrEqual(300);
	});

	it("sends no more than its bytes a day, and goes on at midnight", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		for (let i = 0; i < 15; i++) link.send(100);
		await link.clock.advance(15 * HOUR);
		expect(link.sentBytes).toBe(1000);
		expect(link.uplink.report().day.left).toBe(0);
		expect(link.uplink.blockedUntilMs(1)).toBe(at("2026-11-11T00:00"));
		await link.clock.advance(HOUR + 60_000);
		expect(link.sentBytes).toBe(1500);
		expect(link.uplink.left()).toBe(500);
	});

	it("sends no more than its bytes a month", async () => {
		const link = new Link({ bytesPerDay: 1000, bytesPerMonth: 2500 });
		await link.flood(20 * DAY, 100);
		expect(link.sentBytes).toBe(2500);
		await link.flood(DAY, 100);
		expect(link.sentBytes).toBe(2500 + 1000);
	});

	it("lets go what is larger than a whole day's, once, and counts the rest in the days that follow", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		await link.flood(10 * DAY, 5000);
		expect(link.sent.length).toBe(3);
		await link.flood(10 * DAY, 300);
		expect(link.sentBytes).toBeLessThanOrEqual(21 * 1000);
	});

	it("says what there will be by the end of the month, if it goes on so", async () => {
		const link = new Link({}, "2026-11-01T00:00");
		for (let day = 0; day < 10; day++) {
			link.send(1000);
			await link.clock.advance(DAY);
		}
		const { month, day } = link.uplink.report();
		expect(month.forecastBytes).toBe(30_000);
		expect(day.forecastBytes).toBe(0);
		await link.clock.advance(2 * DAY);
		expect(link.uplink.report().month.forecastBytes).toBe(10_000);
	});

	it("goes by the last hours, and says when nothing will be left", async () => {
		const link = new Link({ bytesPerDay: 10_000, bytesPerMonth: 1_000_000 }, "2026-11-10T00:00");
		await link.clock.advance(12 * HOUR);
		expect(link.uplink.report().day).toMatchObject({ forecastBytes: 0, exhaustedMs: undefined });
		for (let hour = 0; hour < 3; hour++) {
			link.send(1200);
			await link.clock.advance(HOUR);
		}
		// 400 of the 6400 that are left go in 20 minutes; the average of the day, 240 an hour, would have lasted.
		const { day, month } = link.uplink.report();
		expect(day).toMatchObject({ bytes: 3600, left: 6400, forecastBytes: 3600 + 9 * 1200 });
		expect(day.exhaustedMs).toBe(at("2026-11-10T20:20"));
		expect(month.exhaustedMs).toBeUndefined();
		link.send(6400);
		await link.clock.settle();
		expect(link.uplink.report().day).toMatchObject({ left: 0, exhaustedMs: link.clock.now() });
		await link.clock.advance(9 * HOUR + 60_000);
		expect(link.uplink.report().day).toMatchObject({ forecastBytes: 0, exhaustedMs: undefined });
	});

	it("forecasts after a start with what it knows of the day and the month", async () => {
		const link = new Link({ bytesPerMonth: 30_000 }, "2026-11-01T00:00");
		for (let day = 0; day < 10; day++) {
			link.send(2000);
			await link.clock.advance(DAY);
		}
		link.restart(true);
		expect(link.uplink.report().month).toMatchObject({ forecastBytes: 60_000, exhaustedMs: at("2026-11-16T00:00") });
	});

	it("gives up for who does not want any more, and lets the next one go", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		link.send(900);
		await link.clock.settle();
		const abort = new AbortController();
		const waiting = link.uplink.take(500, abort.signal);
		link.send(100);
		await link.clock.settle();
		expect(link.sentBytes).toBe(900);
		abort.abort(new Error("stopping"));
		await expect(waiting).rejects.toThrow("stopping");
		await link.clock.settle();
		expect(link.sentBytes).toBe(1000);
		await expect(link.uplink.take(1, abort.signal)).rejects.toThrow("stopping");
	});
});

describe("by priority, the uplink", () => {
	it("serves the higher one first, and in each who came first", async () => {
		const link = new Link({ bytesPerSecond: 1000 });
		link.send(300, "high");
		link.send(101, "low");
		link.send(102, "normal");
		link.send(103, "high");
		link.send(104, "low");
		link.send(105, "high");
		await link.clock.advance(10_000);
		expect(link.sent.map(([bytes]) => bytes)).toEqual([300, 103, 105, 102, 101, 104]);
	});

	it("lets an alarm pass what a large upload took in advance, which then waits the longer", async () => {
		const link = new Link({ bytesPerSecond: 1000 });
		link.send(100_000, "low");
		link.send(1000, "low");
		for (let i = 0; i < 50; i++) link.send(100, "high");
		link.send(1000, "normal");
		await link.clock.advance(10_000);
		expect(link.sentBytes).toBe(100_000 + 50 * 100 + 1000);
		expect(link.sent.filter(([bytes]) => bytes === 100).at(-1)?.[1]).toBeLessThanOrEqual(5000);
		await link.clock.advance(95_000);
		expect(link.sent).toHaveLength(52);
		await link.clock.advance(5000);
		expect(link.sent).toHaveLength(53);
	});

	it("keeps a part of the day and the month for what matters most", async () => {
		const link = new Link({ bytesPerDay: 1000, bytesPerMonth: 4000, reservePercent: 20 });
		for (let i = 0; i < 20; i++) link.send(100, i % 2 === 0 ? "low" : "normal");
		await link.clock.settle();
		expect(link.sentBytes).toBe(800);
		expect([link.uplink.left(), link.uplink.left("normal"), link.uplink.left("high")]).toEqual([0, 0, 200]);
		expect(link.uplink.report().day.left).toBe(200);
		expect(link.uplink.blockedUntilMs(1, "normal")).toBe(at("2026-11-11T00:00"));
		expect(link.uplink.blockedUntilMs(200, "high")).toBeUndefined();
		expect(link.uplink.blockedUntilMs(201, "high")).toBe(at("2026-11-11T00:00"));
		for (let i = 0; i < 3; i++) link.send(100, "high");
		await link.clock.settle();
		expect(link.sentBytes).toBe(1000);
		await link.flood(20 * DAY, 100);
		expect(link.uplink.report().month.bytes).toBe(3200);
	});

	it("with everything kept for it lets nothing else go, however large", async () => {
		const link = new Link({ bytesPerDay: 1000, reservePercent: 100 });
		for (const bytes of [1, 5000]) link.send(bytes, "normal");
		await link.clock.advance(2 * DAY);
		expect(link.sent).toEqual([]);
		link.send(1000, "high");
		await link.clock.settle();
		expect(link.sentBytes).toBe(1000);
	});

	it("forgets who gave up, and lets the lower ones go on", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		link.send(900);
		const abort = new AbortController();
		const waiting = link.uplink.take(500, abort.signal, "high");
		link.send(100, "low");
		await link.clock.settle();
		expect(link.sentBytes).toBe(900);
		abort.abort(new Error("stopping"));
		await expect(waiting).rejects.toThrow("stopping");
		await link.clock.settle();
		expect(link.sentBytes).toBe(1000);
	});
});

describe("what was sent without having been taken", () => {
	it("counts, and delays who comes next", async () => {
		const link = new Link({ bytesPerSecond: 1000, bytesPerDay: 10_000 });
		link.uplink.charge(2250);
		expect(link.uplink.report().day.bytes).toBe(2250);
		link.send(100, "high");
		await link.clock.advance(2000);
		expect(link.sent).toEqual([]);
		await link.clock.advance(200);
		expect(link.sent).toHaveLength(1);
		link.uplink.charge(20_000);
		expect(link.uplink.left("high")).toBe(0);
	});

	it("is given back where more was taken than was sent, to who waits; never more than was taken", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		link.send(1000);
		link.send(300);
		await link.clock.settle();
		expect(link.sentBytes).toBe(1000);
		link.uplink.charge(-400);
		await link.clock.settle();
		expect(link.sentBytes).toBe(1300);
		expect(link.uplink.left()).toBe(100);
		link.uplink.charge(-5000);
		expect(link.uplink.left()).toBe(1000);
		expect(link.uplink.report().day).toMatchObject({ bytes: 0, forecastBytes: 0 });
	});

	it("is known after a crash like what was taken, whatever was given back", async () => {
		const random = new SimulatedRandom(3);
		const link = new Link({ bytesPerDay: 100_000_000 });
		let sent = 0;
		for (let i = 0; i < 300; i++) {
			const bytes = random.between(-30_000, 60_000);
			link.uplink.charge(bytes);
			sent = Math.max(0, sent + bytes);
			if (!random.chance(0.05)) continue;
			link.restart(random.chance(0.5));
			expect(link.uplink.left()).toBeLessThanOrEqual(100_000_000 - sent);
			sent = 100_000_000 - (link.uplink.left() as number);
		}
		expect(link.saves).toBeLessThan(60);
		const last = new Link({ bytesPerDay: 10_000_000 });
		for (const bytes of [10, -1_000_000, 500_000]) last.uplink.charge(bytes);
		last.restart(false);
		expect(last.uplink.left()).toBeLessThanOrEqual(9_500_000);
	});
});

describe("over a restart, the uplink", () => {
	it("knows what was sent, exactly after a stop", async () => {
		const link = new Link({ bytesPerDay: 10_000_000 });
		link.send(3_000_000);
		await link.clock.settle();
		link.restart(true);
		expect(link.uplink.left()).toBe(7_000_000);
		expect(link.uplink.report().month.bytes).toBe(3_000_000);
	});

	it("has never more left after a crash than before, and little less", async () => {
		const link = new Link({ bytesPerDay: 10_000_000 });
		let sent = 0;
		for (let i = 0; i < 50; i++) {
			link.send(40_000);
			sent += 40_000;
			await link.clock.settle();
			link.restart(false);
			expect(link.uplink.left()).toBeLessThanOrEqual(10_000_000 - sent);
			sent = 10_000_000 - (link.uplink.left() as number);
		}
		const whole = new Link({ bytesPerDay: 10_000_000 });
		whole.send(5_000_000);
		await whole.clock.settle();
		whole.restart(false);
		expect(whole.uplink.left()).toBeGreaterThan(4_900_000);
	});

	it("was written seldom", async () => {
		const link = new Link({ bytesPerDay: 100_000_000 });
		for (let i = 0; i < 2000; i++) link.send(50_000);
		await link.clock.settle();
		expect(link.sentBytes).toBe(100_000_000);
		expect(link.saves).toBeLessThanOrEqual(129);
	});

	it("goes on where it could not be written for a while", async () => {
		const link = new Link({ bytesPerDay: 10_000_000 });
		link.isFull = true;
		link.uplink.charge(10);
		link.uplink.charge(-10);
		link.uplink.settle();
		for (let i = 0; i < 5; i++) link.send(1_000_000);
		await link.clock.settle();
		expect(link.sentBytes).toBe(5_000_000);
		link.isFull = false;
		link.send(1_000_000);
		await link.clock.settle();
		link.restart(false);
		expect(link.uplink.left()).toBeLessThanOrEqual(4_000_000);
	});

	it("takes a row that it cannot read for none", () => {
		const link = new Link({ bytesPerDay: 1000 });
		link.row = Buffer.from("?");
		link.restart(false);
		expect(link.uplink.left()).toBe(1000);
	});
});

describe("when the clock steps, the uplink", () => {
	it("takes no step back for a new day, nor a clock that is not set", async () => {
		const link = new Link({ bytesPerDay: 1000 }, "2026-11-10T00:10");
		await link.flood(0, 100);
		for (const ms of [
			-HOUR,
			HOUR,
			at("1970-01-02T00:00") - link.clock.now(),
			at("2026-11-10T12:00") - at("1970-01-02T00:00"),
		]) {
			link.clock.step(ms);
			await link.flood(60_000, 100);
			link.restart(true);
			expect(link.sentBytes).toBe(1000);
		}
		await link.flood(13 * HOUR, 100);
		expect(link.sentBytes).toBe(2000);
	});

	it("counts what was sent before the clock was set in the day that it then is", async () => {
		const link = new Link({ bytesPerDay: 1000 }, "1970-01-02T10:00");
		await link.flood(0, 100);
		link.clock.step(at("2026-11-10T12:00") - link.clock.now());
		await link.flood(60_000, 100);
		expect(link.sentBytes).toBe(1000);
		await link.flood(12 * HOUR, 100);
		expect(link.sentBytes).toBe(2000);
	});

	it("goes on with the next day when it had been set far ahead", async () => {
		const link = new Link({ bytesPerDay: 1000 }, "2099-11-10T12:00");
		await link.flood(0, 100);
		link.clock.step(at("2026-11-10T12:00") - link.clock.now());
		await link.flood(60_000, 100);
		expect(link.sentBytes).toBe(1000);
		await link.flood(12 * HOUR, 100);
		expect(link.sentBytes).toBe(2000);
	});

	it("ends a day that never ends by the clock, which lost its time for good", async () => {
		const link = new Link({ bytesPerDay: 1000 });
		await link.flood(0, 100);
		link.clock.step(at("1970-01-02T00:00") - link.clock.now());
		await link.flood(23 * HOUR, 100);
		expect(link.sentBytes).toBe(1000);
		await link.flood(2 * DAY, 100);
		expect(link.sentBytes).toBeGreaterThanOrEqual(2000);
		expect(link.sentBytes).toBeLessThanOrEqual(4000);
	});

	it("sends no more in any day's length than two days' bytes, while steps are small", async () => {
		for (let seed = 0; seed < 8; seed++) {
			const random = new SimulatedRandom(seed);
			const link = new Link({ bytesPerDay: 1000 });
			for (let i = 0; i < 60; i++) {
				link.clock.step(random.between(-30, 30) * 60_000);
				await link.flood(random.between(1, 12) * HOUR, random.between(20, 200));
				if (random.chance(0.2)) link.restart(random.chance(0.5));
			}
			for (const [, fromMs] of link.sent) {
				const inDay = link.sent.filter(([, ms]) => ms >= fromMs && ms < fromMs + 23 * HOUR);
				expect(inDay.reduce((sum, [bytes]) => sum + bytes, 0)).toBeLessThanOrEqual(2000);
			}
		}
	});
});
