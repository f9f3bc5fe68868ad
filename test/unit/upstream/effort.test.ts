/** How hard batches are compressed. */
import { describe, expect, it } from "vitest";
import { Effort } from "../../../bridge/upstream/shipment/effort.ts";

describe("the effort of compression", () => {
	it("is as configured while the link takes longer than the compressor", () => {
		const effort = new Effort(9);
		effort.took(100, 900);
		expect(effort.level).toBe(9);
	});

	it("is less where a backlog waits for the compressor, until there is a rest", () => {
		const effort = new Effort(9);
		effort.took(900, 100);
		expect(effort.level).toBe(3);
		effort.took(300, 400);
		expect(effort.level).toBe(3);
		effort.rested();
		expect(effort.level).toBe(9);
	});

	it.each([undefined, 1, 3])("never more than configured: %s", (level) => {
		const effort = new Effort(level);
		effort.took(900, 100);
		expect(effort.level).toBe(level);
	});
});
