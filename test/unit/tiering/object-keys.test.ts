/** Keys of the store: whose they are, and in what order they are. */
import { describe, expect, it } from "vitest";
import { bundleKey, incarnationPrefix } from "../../../tiering/bundle/identity.ts";
import { behindGateway, behindIncarnation, claimKey, gatewayPrefix, ownerOf } from "../../../tiering/object-keys.ts";

const name = { gateway: "pi-7", incarnation: 3, sequence: 41, attempt: "0badcafe" };

describe("whose a key is", () => {
	it("is known of bundles and claims", () => {
		expect(claimKey("pi-7", 3)).toBe("pi-7/0000000003/claim.json");
		expect(ownerOf(claimKey("pi-7", 3))).toEqual({ gateway: "pi-7", incarnation: 3 });
		expect(ownerOf(bundleKey(name))).toMatchObject({ gateway: "pi-7", incarnation: 3 });
	});

	it.each([
		"",
		"notes.txt",
		"pi-7/claim.json",
		"pi-7/3/claim.json",
		"pi-7/0000000003/other.json",
		"pi-7/0000000003/claim.json.bak",
		"a/pi-7/0000000003/claim.json",
		"pi 7/0000000003/claim.json",
		"pi-7/0000000003/x/claim.json",
		"pi-7/0000000003/00000000000000000041-0badcafe.bundle.tmp",
		"pi-7/0000000003/41-0badcafe.bundle",
	])("is nobody's of ours for %j", (key) => {
		expect(ownerOf(key)).toBeUndefined();
	});
});

it("keys are in the order in which they were written, and what is behind a gateway or an incarnation is right behind its keys", () => {
	const ordered = [
		claimKey("a-1", 1),
		behindGateway("a-1"),
		bundleKey({ ...name, gateway: "a", incarnation: 9 }),
		bundleKey({ ...name, gateway: "a", incarnation: 9, sequence: 100 }),
		claimKey("a", 9),
		behindIncarnation("a", 9),
		bundleKey({ ...name, gateway: "a", incarnation: 10 }),
		claimKey("a", 10),
		behindIncarnation("a", 10),
		claimKey("a", 1_000_000_000),
		behindGateway("a"),
		claimKey("a0", 1),
		claimKey("aa", 1),
	];
	const shuffled = ordered.toReversed();
	expect(shuffled.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))).toEqual(ordered);
	expect(claimKey("a", 9).startsWith(incarnationPrefix("a", 9))).toBe(true);
	expect(bundleKey({ ...name, gateway: "a", incarnation: 9 }).startsWith(incarnationPrefix("a", 9))).toBe(true);
	expect(incarnationPrefix("a", 9).startsWith(gatewayPrefix("a"))).toBe(true);
});
