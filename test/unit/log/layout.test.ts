/** The bytes of a segment's three files, as Kafka lays them (log segment, offset index 8 bytes, time index 12 bytes an entry). */
import { expect, it } from "vitest";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { asideName } from "../../../src/log/layout.ts";
import { Segment } from "../../../src/log/segment.ts";
import { encodeBatch } from "../../../src/record/batch.ts";

it("are Kafka's", () => {
	const disk = new SimulatedDisk();
	disk.makeDirectory("/t-0");
	const segment = new Segment(disk, "/t-0", 42);
	const batch = (baseOffset: number, timestamp: number, value: string) =>
		encodeBatch([{ timestamp, key: Buffer.from("k"), value: Buffer.from(value), headers: [] }], { baseOffset });
	segment.append([batch(42, 1000, "a")], 0);
	segment.append([batch(43, 3000, "b"), batch(44, 2000, "c")], 0);
	segment.seal();
	const files = disk.files();
	const hex = (suffix: string) => files.get(`/t-0/00000000000000000042.${suffix}`)?.toString("hex");
	const header = (offset: string, crc: string, time: string) =>
		// base offset, length, leader epoch, magic, CRC-32C, attributes, last offset delta, two timestamps, producer, count
		`00000000000000${offset}0000003a0000000002${crc}000000000000${time.repeat(2)}${"ff".repeat(14)}00000001`;
	const record = (value: string) => `10000000026b02${value}00`;
	const crcs = [0, 70, 140].map((at) => (hex("log") ?? "").slice((at + 17) * 2, (at + 21) * 2)) as [
		string,
		string,
		string,
	];
	expect(hex("log")).toBe(
		header("2a", crcs[0], "00000000000003e8") +
			record("61") +
			header("2b", crcs[1], "0000000000000bb8") +
			record("62") +
			header("2c", crcs[2], "00000000000007d0") +
			record("63"),
	);
	// Relative last offset and position of the batch, from the second on.
	expect(hex("index")).toBe("0000000100000046" + "000000020000008c");
	// Largest timestamp so far and the relative offset that has it; only where it rises.
	expect(hex("timeindex")).toBe("0000000000000bb8" + "00000001");
});

it("moves a folder aside under a name that a file system takes and that stays its own", () => {
	const id = "123e4567-e89b-42d3-a456-426614174000";
	expect(asideName("topic-3", id, "-delete")).toBe(`topic-3.${id}-delete`);
	const names = [0, 7, 9999].map((number) => asideName(`${"n".repeat(249)}-${number}`, id, "-delete"));
	expect(new Set(names).size).toBe(3);
	for (const name of names) {
		expect(name.length).toBeLessThanOrEqual(255);
		expect(name.endsWith("-delete")).toBe(true);
	}
});
