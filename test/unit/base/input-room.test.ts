import { describe, expect, it } from "vitest";
import { InputRoom } from "../../../src/base/input-room.ts";

describe("room for requests that arrive", () => {
	it("is granted in order, as far as there is any, and given back once", () => {
		const room = new InputRoom(100);
		const granted: string[] = [];
		const claim = (name: string, bytes: number) => room.claim(bytes, () => granted.push(name));
		const giveA = claim("a", 60);
		const giveB = claim("b", 40);
		const giveC = claim("c", 30);
		// It would fit sooner, but c was first.
		claim("d", 10);
		expect(granted).toEqual(["a", "b"]);
		expect(room.short).toBe(true);
		giveB();
		expect(granted).toEqual(["a", "b", "c", "d"]);
		expect(room.short).toBe(false);
		giveB();
		giveC();
		claim("e", 31);
		expect(granted).toHaveLength(4);
		giveA();
		expect(granted).toEqual(["a", "b", "c", "d", "e"]);
	});

	it("goes to one claim however large, when nobody else has any", () => {
		const room = new InputRoom(100);
		const granted: string[] = [];
		const give = room.claim(1000, () => granted.push("huge"));
		room.claim(1, () => granted.push("small"));
		expect(granted).toEqual(["huge"]);
		give();
		expect(granted).toEqual(["huge", "small"]);
	});

	it("is not kept for who no longer waits, and who waited behind does so no longer", () => {
		const room = new InputRoom(100);
		const granted: string[] = [];
		room.claim(50, () => granted.push("a"));
		const giveUp = room.claim(90, () => granted.push("b"));
		room.claim(50, () => granted.push("c"));
		giveUp();
		expect(granted).toEqual(["a", "c"]);
		expect(room.short).toBe(false);
	});
});
