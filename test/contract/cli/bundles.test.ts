import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { crc32c } from "../../../src/record/crc32c.ts";
import { temporaryFolder } from "../../support/gateway.ts";
import { objects, runHeadwater } from "./session.ts";

const folder = temporaryFolder("bundles");
afterAll(() => fs.rmSync(folder, { recursive: true }));

const golden = fs.readFileSync(path.join(import.meta.dirname, "../../golden/bundle/format-1.bundle"));
const KEY = "gw-golden/0000000002/00000000000000000041-5eed5eed.bundle";

function file(name: string, bytes: Buffer): string {
	const to = path.join(folder, name);
	fs.writeFileSync(to, bytes);
	return to;
}

const sound = file("sound.bundle", golden);
/** A byte of the first block is another one. */
const spoilt = file("spoilt.bundle", Buffer.from(golden.map((byte, i) => (i === 40 ? byte ^ 1 : byte))));

describe("tier ls", () => {
	it("lists the ranges in files, for people and for programs", async () => {
		const { code, stdout, stderr } = await runHeadwater(["tier", "ls", sound]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const [name, head, columns, first] = stdout.split("\n");
		expect(name).toBe(sound);
		expect(head).toMatch(
			/^gw-golden, incarnation 2, bundle 41, 2026-01-09T23:06:40.000Z, by headwater golden, .* KiB, snapshot 27 B$/,
		);
		expect(columns).toMatch(/^TOPIC +PARTITION +FROM +BEFORE +RECORDS +FIRST TIME +LAST TIME +STORED +RAW$/);
		expect(first).toMatch(
			/^telemetry +0 +100 +109 +9 +2026-01-09T22:50:02.000Z +2026-01-09T22:50:08.000Z +\d+ B +380 B$/,
		);
		const json = await runHeadwater(["tier", "ls", "--json", sound, sound]);
		const ranges = objects(json.stdout);
		expect(ranges).toHaveLength(8);
		expect(ranges[0]).toEqual({
			bundle: sound,
			gateway: "gw-golden",
			incarnation: 2,
			sequence: 41,
			createdMs: 1_768_000_000_000,
			topic: "telemetry",
			partition: 0,
			baseOffset: 100,
			nextOffset: 109,
			records: 9,
			firstTimestamp: 1_767_999_002_000,
			maxTimestamp: 1_767_999_008_000,
			storedBytes: 253,
			rawBytes: 380,
			blocks: 1,
		});
	});

	it("reads an object in a store by its url", async () => {
		const object = path.join(folder, "store", KEY);
		fs.mkdirSync(path.dirname(object), { recursive: true });
		fs.writeFileSync(object, golden);
		fs.writeFileSync(path.join(folder, "store", ".headwater-store"), "");
		const url = `${pathToFileURL(path.join(folder, "store")).href}/${KEY}`;
		const { code, stdout, stderr } = await runHeadwater(["tier", "ls", "--json", url]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		expect(objects(stdout)[0]).toMatchObject({ bundle: url, topic: "telemetry" });
		const missing = await runHeadwater(["tier", "ls", url.replace("41-", "42-")]);
		expect(missing.stderr).toMatch(/^headwater: [^\n]*42-5eed5eed\.bundle[^\n]*\n$/);
		expect(missing.code).toBe(1);
	});

	it("says in a line what is no bundle, and why", async () => {
		const later = Buffer.from(golden);
		const trailer = later.subarray(-40);
		trailer.writeUInt32BE(2, 8);
		trailer.writeUInt32BE(crc32c(trailer, 0, 36), 36);
		const cases: [name: string, message: RegExp][] = [
			[
				file("later.bundle", later),
				/later\.bundle is a bundle of format 2; this program knows formats up to 1: use a newer one/,
			],
			[
				file("cut.bundle", golden.subarray(0, -100)),
				/cut\.bundle at byte \d+: the trailer is missing: this is no bundle, or it is cut short/,
			],
			[file("empty.bundle", Buffer.alloc(0)), /empty\.bundle at byte 0: an object of 0 bytes is no bundle/],
			[path.join(folder, "none.bundle"), /none\.bundle: there is no such file or folder/],
			[folder, /is a folder; name a bundle in it/],
			["s3://bucket/some/key.bundle", /does not name a bundle in a store, as s3:/],
		];
		for (const [name, message] of cases) {
			const { code, stdout, stderr } = await runHeadwater(["tier", "ls", name]);
			expect(stderr).toMatch(/^headwater: [^\n]+\n$/);
			expect(stderr).toMatch(message);
			expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
		}
		expect((await runHeadwater(["tier", "export"])).code).toBe(2);
	});
});

describe("tier verify", () => {
	it("says that sound bundles are, and of others where they are damaged, with exit code 1", async () => {
		const good = await runHeadwater(["tier", "verify", sound]);
		expect(good.code).toBe(0);
		expect(good.stdout).toMatch(
			/sound\.bundle is sound: 0 damages; checked .* KiB: 16 records in 3 blocks of 4 ranges\n$/,
		);
		const bad = await runHeadwater(["tier", "verify", spoilt, sound]);
		expect(bad.code).toBe(1);
		expect(bad.stdout.split("\n")).toEqual([
			expect.stringMatching(/^damage: .*spoilt\.bundle at byte 16: the block from offset 100: its CRC-32C is wrong$/),
			expect.stringMatching(/spoilt\.bundle is DAMAGED: 1 damage; checked .*: 7 records in 3 blocks of 4 ranges$/),
			expect.stringMatching(/sound\.bundle is sound/),
			"",
		]);
		const json = await runHeadwater(["tier", "verify", "--json", spoilt]);
		expect(json.code).toBe(1);
		expect(objects(json.stdout)).toEqual([
			{ level: "damage", bundle: spoilt, position: 16, what: "the block from offset 100: its CRC-32C is wrong" },
			{
				level: "summary",
				bundle: spoilt,
				damages: 1,
				bytes: golden.length,
				ranges: 4,
				blocks: 3,
				batches: 7,
				records: 7,
			},
		]);
	});
});

describe("tier export", () => {
	it("prints committed records as consume --json does, of what was asked for", async () => {
		const rows = async (...options: string[]) => {
			const { code, stdout, stderr } = await runHeadwater(["tier", "export", sound, ...options]);
			expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
			return objects(stdout);
		};
		expect(await rows()).toHaveLength(13);
		expect(await rows("--all")).toHaveLength(14);
		const some = await rows("--topic", "telemetry", "--partition", "0", "--from", "107");
		expect(some).toEqual([
			{
				topic: "telemetry",
				partition: 0,
				offset: 107,
				timestamp: 1_767_999_007_000,
				key: "dev7",
				value: "ü",
				headers: { site: "s1" },
			},
			{
				topic: "telemetry",
				partition: 0,
				offset: 108,
				timestamp: 1_767_999_008_000,
				key: "dev8",
				value: { base64: "/wI=" },
				headers: {},
			},
		]);
		const transactional = ["--topic", "telemetry", "--partition", "1"];
		expect((await rows(...transactional)).map(({ value }) => value)).toEqual(["committed"]);
		expect((await rows(...transactional, "--all")).map(({ value }) => value)).toEqual(["aborted", "committed"]);
	});

	it("prints CSV, quoted where need be", async () => {
		const { stdout } = await runHeadwater(["tier", "export", sound, "--format", "csv", "--from", "106"]);
		expect(stdout.split("\n").slice(0, 4)).toEqual([
			"topic,partition,offset,timestamp,key,value,headers",
			'telemetry,0,106,1767999006000,dev6,"{""t"":21.2}",{}',
			'telemetry,0,107,1767999007000,dev7,ü,"{""site"":""s1""}"',
			'telemetry,0,108,1767999008000,dev8,"{""base64"":""/wI=""}",{}',
		]);
		expect(stdout).toContain("device.state,0,530,1767999014000,dev14,,{}\n");
	});

	it("ends at damage with what it is and exit code 1; an unknown format is refused", async () => {
		const { code, stdout, stderr } = await runHeadwater(["tier", "export", spoilt]);
		expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
		expect(stderr).toMatch(/^headwater: .*spoilt\.bundle at byte 16: [^\n]*\n$/);
		expect((await runHeadwater(["tier", "export", sound, "--format", "xml"])).code).toBe(2);
	});
});

describe("dump", () => {
	it("shows a bundle's parts in the order of its bytes, and damage in its place", async () => {
		const { stdout, code } = await runHeadwater(["dump", sound]);
		expect(code).toBe(0);
		const kinds = stdout
			.trim()
			.split("\n")
			.map((line) => line.trim().split(/\s+/).slice(0, 2).join(" "));
		expect(kinds.slice(0, 4)).toEqual(["0 header", "16 range", "16 block", "269 range"]);
		expect(kinds.at(-1)).toBe(`${golden.length - 40} trailer`);
		const damaged = objects((await runHeadwater(["dump", "--json", "--records", spoilt])).stdout);
		expect(damaged.filter(({ kind }) => kind === "damage")).toEqual([
			{ kind: "damage", position: 16, what: "the block from offset 100: its CRC-32C is wrong" },
		]);
		expect(damaged.filter(({ kind }) => kind === "record")).toHaveLength(7);
		const cut = objects((await runHeadwater(["dump", "--json", file("cut2.bundle", golden.subarray(0, -1))])).stdout);
		expect(cut).toEqual([expect.objectContaining({ kind: "damage" })]);
	});
});
