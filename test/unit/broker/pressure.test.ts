/** Memory pressure: over at the budget, relief at half of it, once for each who waits. */
import { expect, it } from "vitest";
import { Pressure } from "../../../src/base/pressure.ts";

it("is over above the budget, and relieves at half of it, once", () => {
	const pressure = new Pressure(100);
	let relieved = 0;
	pressure.add(100);
	expect(pressure.over).toBe(false);
	pressure.add(1);
	expect(pressure.over).toBe(true);
	pressure.onRelief({ relieved: () => relieved++ });
	pressure.subtract(50);
	expect(pressure.over).toBe(false);
	expect(relieved).toBe(0);
	pressure.subtract(1);
	expect(relieved).toBe(1);
	pressure.subtract(50);
	expect(relieved).toBe(1);
	expect(pressure.bytes).toBe(0);
});

it("is over while somebody holds it, whatever the bytes, and relieves when the last lets go", () => {
	const pressure = new Pressure(100);
	let relieved = 0;
	pressure.hold();
	pressure.hold();
	expect(pressure.over).toBe(true);
	pressure.onRelief({ relieved: () => relieved++ });
	pressure.add(10);
	pressure.subtract(10);
	pressure.letGo();
	expect([pressure.over, relieved]).toEqual([true, 0]);
	pressure.letGo();
	expect([pressure.over, relieved]).toEqual([false, 1]);
});

it("lets a listener wait again from within its relief", () => {
	const pressure = new Pressure(100);
	const told: string[] = [];
	const again = { relieved: () => void told.push("again") };
	pressure.onRelief({
		relieved: () => {
			told.push("first");
			pressure.onRelief(again);
		},
	});
	pressure.add(1);
	pressure.subtract(1);
	expect(told).toEqual(["first"]);
	pressure.subtract(0);
	expect(told).toEqual(["first", "again"]);
});

it("lets the rest of a request be read whatever its parts take, but not over the budget without them", () => {
	const pressure = new Pressure(100);
	const told: string[] = [];
	pressure.arriving(150);
	expect([pressure.bytes, pressure.over, pressure.full]).toEqual([150, true, false]);
	pressure.add(101);
	expect(pressure.full).toBe(true);
	const both = { relieved: () => void told.push("both") };
	pressure.onRelief({ relieved: () => void told.push("begins") });
	pressure.onRelief({ relieved: () => void told.push("reads on") }, true);
	// It waits for what it asked for last.
	pressure.onRelief(both);
	pressure.onRelief(both, true);
	pressure.subtract(50);
	expect([pressure.full, told]).toEqual([false, []]);
	pressure.subtract(1);
	expect(told).toEqual(["reads on", "both"]);
	pressure.arriving(-150);
	expect([pressure.bytes, told]).toEqual([50, ["reads on", "both", "begins"]]);
});
