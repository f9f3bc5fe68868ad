/**
 * Power cuts: what a store in a folder has acknowledged is there afterwards, what it has not is there whole or not at all, and
 * what `head` has shown stays. Seeded; a failure names its seed.
 */
import { describe, expect, it } from "vitest";
import { type DiskFault, SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { PowerLossError } from "../../../src/base/file-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { DirectoryStore } from "../../../tiering/directory-store.ts";
import { StoreError, type UploadId } from "../../../tiering/object-store.ts";

const PART_BYTES = 3000;
const NAMES = ["gw/1/a", "gw/1/b", "gw/2/a", "gw/2/b/c", "claim"];

/** What may be there by a key after a cut; undefined stands for nothing. */
type Possible = Set<Buffer | undefined>;

/** A store, a disk that loses what it may, and what must have become of each key. */
class MediumLife {
	readonly #random: SimulatedRandom;
	readonly #disk: SimulatedDisk;
	readonly #possible = new Map<string, Possible>();
	readonly tally = { cuts: 0, cutInside: 0, kept: 0, undecided: 0, failed: 0 };
	#store: DirectoryStore;
	/** Rejects when the power goes: what is under way then never ends. */
	#powerLoss = Promise.withResolvers<never>();

	constructor(seed: number, lies: boolean) {
		this.#random = new SimulatedRandom(seed);
		this.#disk = new SimulatedDisk({
			random: this.#random.fork("disk"),
			onStop: () => this.#powerLoss.reject(new PowerLossError("the power went")),
		});
		this.#disk.makeDirectory("/mnt");
		this.#disk.syncDirectory("/");
		this.#disk.syncLies = lies;
		this.#store = this.#start();
	}

	#start(): DirectoryStore {
		this.#powerLoss = Promise.withResolvers<never>();
		this.#powerLoss.promise.catch(() => {});
		return new DirectoryStore({ url: "file:///mnt/usb", partBytes: PART_BYTES }, this.#disk, this.#random);
	}

	async run(): Promise<void> {
		// Until it is acknowledged that the folder is a store, it need not be one.
		await this.#store.putIfAbsent("made", Buffer.from("x"));
		for (let cuts = 0; cuts < 4; cuts++) {
			this.#disk.stopAfter(this.#random.between(1, 250));
			if (this.#random.chance(0.4)) this.#disk.inject(this.#drawFault());
			while (!this.#disk.off) await this.#step();
			this.#disk.clearFaults();
			this.tally.cuts++;
			if (this.#random.chance(0.7)) this.#disk.powerCut();
			else this.#disk.kill();
			this.#store = this.#start();
			await this.#check();
		}
	}

	#drawFault(): DiskFault {
		return {
			operation: this.#random.pick(["sync", "syncDirectory", "write", "rename", "link", "remove", "open"] as const),
			code: this.#random.pick(["EIO", "ENOSPC"]),
			after: this.#random.between(0, 20),
			times: this.#random.between(1, 3),
		};
	}

	/** One call, and what it makes possible. Does not throw when the power goes in its middle. */
	async #step(): Promise<void> {
		const key = this.#random.pick(NAMES);
		const body = this.#random.bytes(this.#random.between(1, PART_BYTES));
		const before = this.#possible.get(key) ?? new Set([undefined]);
		const call = this.#random.weighted({ put: 3, putIfAbsent: 2, upload: 2, delete: 2, head: 2 });
		let outcome: Possible | undefined;
		let maybe: Possible = before;
		try {
			if (call === "put") {
				maybe = new Set([...before, body]);
				await this.#until(this.#store.put(key, body));
				outcome = new Set([body]);
			} else if (call === "putIfAbsent") {
				maybe = new Set([...before, body]);
				await this.#until(this.#store.putIfAbsent(key, body));
				outcome = new Set([body]);
			} else if (call === "delete") {
				maybe = new Set([...before, undefined]);
				await this.#until(this.#store.delete(key));
				outcome = new Set([undefined]);
			} else if (call === "head") {
				outcome = await this.#look(key, before);
			} else {
				const parts = [this.#random.bytes(PART_BYTES), this.#random.bytes(PART_BYTES + 5), body];
				const whole = Buffer.concat(parts);
				maybe = new Set([...before, whole]);
				await this.#until(this.#upload(key, parts));
				outcome = new Set([whole]);
			}
		} catch (error) {
			if (error instanceof PowerLossError) this.tally.cutInside++;
			else if (!(error instanceof StoreError)) throw error;
			else if (error.kind === "exists") maybe = before;
			else this.tally.failed++;
		}
		this.#possible.set(key, outcome ?? maybe);
	}

	async #upload(key: string, parts: readonly Buffer[]): Promise<void> {
		const begun = await this.#store.beginUpload(key);
		const etags = new Map<number, string>();
		const order = this.#random.chance(0.6) ? [1, 2, 3] : [3, 1, 2, 1];
		for (const number of order)
			etags.set(number, await this.#store.putPart(begun, number, parts[number - 1] as Buffer));
		await this.#store.completeUpload(
			begun,
			[1, 2, 3].map((number) => etags.get(number) as string),
		);
	}

	/** What `head` says of a key is so from now on. */
	async #look(key: string, before: Possible): Promise<Possible> {
		const info = await this.#until(this.#store.head(key));
		// That there is nothing may still change: only what is shown is a promise.
		if (info === undefined) return before;
		const bytes = await this.#until(this.#store.get(key, 0, 10 * PART_BYTES));
		return new Set([bytes]);
	}

	#until<T>(call: Promise<T>): Promise<T> {
		return Promise.race([call, this.#powerLoss.promise]);
	}

	async #check(): Promise<void> {
		const listed = new Set((await this.#store.list("")).objects.map(({ key }) => key));
		expect(listed.has("made")).toBe(true);
		for (const [key, possible] of this.#possible) {
			const info = await this.#store.head(key);
			const bytes = info === undefined ? undefined : await this.#store.get(key, 0, 10 * PART_BYTES);
			const found = [...possible].some((one) =>
				one === undefined || bytes === undefined ? one === bytes : one.equals(bytes),
			);
			if (!found) throw new Error(`${key}: ${bytes?.length ?? "nothing"}, and not one of ${told(possible)}`);
			expect(listed.has(key)).toBe(bytes !== undefined);
			if (possible.size === 1) this.tally.kept++;
			else this.tally.undecided++;
			this.#possible.set(key, new Set([bytes]));
		}
		await this.#checkUploads(await this.#store.uploads(""));
	}

	/** What is left of uploads can be found and removed. */
	async #checkUploads(uploads: readonly UploadId[]): Promise<void> {
		for (const upload of uploads) {
			expect(NAMES).toContain(upload.key);
			await this.#store.abortUpload(upload);
		}
		expect(await this.#store.uploads("")).toEqual([]);
	}
}

function told(possible: Possible): string {
	return [...possible].map((one) => one?.length ?? "nothing").join(", ");
}

async function lives(count: number, lies = false): Promise<{ total: Record<string, number>; failures: string[] }> {
	const total: Record<string, number> = {};
	const failures: string[] = [];
	for (let seed = 1; seed <= count; seed++) {
		const life = new MediumLife(seed, lies);
		try {
			await life.run();
		} catch (error) {
			failures.push(`seed ${seed}: ${(error as Error).message}`);
		}
		for (const [name, value] of Object.entries(life.tally)) total[name] = (total[name] ?? 0) + value;
	}
	return { total, failures };
}

describe("a store in a folder, when the power goes", () => {
	it("keeps what it promised, whole, through 300 lives", async () => {
		const { total, failures } = await lives(300);
		expect(failures).toEqual([]);
		// Lives in which nothing happens prove nothing.
		expect(total.cutInside).toBeGreaterThan(600);
		expect(total.kept).toBeGreaterThan(2000);
		expect(total.undecided).toBeGreaterThan(200);
		expect(total.failed).toBeGreaterThan(200);
	});

	/** The same on disks that lose other things; `cut` lets the power go, and gives a new process. */
	async function onDisks(
		run: (store: DirectoryStore, disk: SimulatedDisk, cut: () => DirectoryStore) => Promise<void>,
	): Promise<void> {
		for (let seed = 1; seed <= 40; seed++) {
			const disk = new SimulatedDisk({ random: new SimulatedRandom(seed) });
			disk.makeDirectory("/mnt");
			disk.syncDirectory("/");
			const open = () =>
				new DirectoryStore({ url: "file:///mnt/usb", partBytes: PART_BYTES }, disk, new SimulatedRandom(seed));
			const store = open();
			await store.putIfAbsent("gw/claim.json", Buffer.from("claim"));
			await run(store, disk, () => {
				disk.powerCut();
				return open();
			});
		}
	}

	it("is one still, with its mark as it was written", () =>
		onDisks(async (_, disk, cut) => {
			const mark = disk.files().get("/mnt/usb/.headwater-store");
			const store = cut();
			expect((await store.get("gw/claim.json", 0, 100)).toString()).toBe("claim");
			expect(disk.files().get("/mnt/usb/.headwater-store")).toEqual(mark);
			expect(mark?.length).toBeGreaterThan(100);
		}));

	it("is one that lost its mark and got it again", () =>
		onDisks(async (store, disk, cut) => {
			disk.remove("/mnt/usb/.headwater-store");
			disk.syncDirectory("/mnt/usb");
			await store.putIfAbsent("gw/more", Buffer.from("more"));
			expect((await cut().get("gw/more", 0, 100)).toString()).toBe("more");
		}));

	it("has deleted what could not be deleted at first", () =>
		onDisks(async (store, disk, cut) => {
			disk.inject({ operation: "syncDirectory", code: "EIO" });
			await expect(store.delete("gw/claim.json")).rejects.toMatchObject({ kind: "unreachable" });
			await store.delete("gw/claim.json");
			expect(await cut().head("gw/claim.json")).toBeUndefined();
		}));

	it("still lists an upload that was begun, with the parts that were put", () =>
		onDisks(async (store, _, cut) => {
			const begun = await store.beginUpload("gw/a");
			const body = Buffer.from("a part");
			const etag = await store.putPart(begun, 1, body);
			const again = cut();
			expect(await again.uploads("")).toEqual([begun]);
			// Which parts there are may be forgotten, but not what is in them.
			const error = await again.completeUpload(begun, [etag]).catch((reason: unknown) => reason);
			if (error === undefined) expect((await again.get("gw/a", 0, 100)).equals(body)).toBe(true);
			else expect(error).toMatchObject({ kind: "refused" });
		}));

	it("lists no upload again whose abortion failed at first", () =>
		onDisks(async (store, disk, cut) => {
			const begun = await store.beginUpload("gw/a");
			disk.inject({ operation: "syncDirectory", code: "EIO" });
			await expect(store.abortUpload(begun)).rejects.toMatchObject({ kind: "unreachable" });
			await store.abortUpload(begun);
			expect(await cut().uploads("")).toEqual([]);
			expect(disk.list("/mnt/usb/.uploads")).toEqual([]);
		}));

	it("does not on a disk that acknowledges syncs and does nothing", async () => {
		expect((await lives(30, true)).failures.length).toBeGreaterThan(10);
	});
});
