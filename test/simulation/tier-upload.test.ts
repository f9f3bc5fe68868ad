/**
 * Lives of an uploader: crashes, a link that fails, a store that lies, refuses and shows things late, records deleted meanwhile.
 * All the while what counts is there and right; in the end all is uploaded and nothing is left over in the store.
 */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../src/log/delete-records.ts";
import { UploadingGateway } from "../support/uploading-gateway.ts";
import { type Life, lives } from "./seeds.ts";

const HOUR = 3_600_000;
const STEPS = 25;
const PLACES = [
	["a", 0],
	["a", 1],
	["b", 0],
] as const;

class UploadingLife implements Life {
	readonly tally = { crashes: 0, stops: 0, deletions: 0, bundles: 0, abandoned: 0, records: 0 };
	readonly #random: SimulatedRandom;
	readonly #gateway: UploadingGateway;

	constructor(seed: number | string) {
		this.#random = new SimulatedRandom(seed);
		const random = this.#random;
		this.#gateway = new UploadingGateway({
			seed,
			partBytes: random.pick([20_000, 60_000, 1_000_000]),
			bundleBytes: random.pick([100_000, 500_000]),
		});
	}

	async run(): Promise<void> {
		const random = this.#random;
		const gateway = this.#gateway;
		await gateway.start();
		gateway.topic("a", 2);
		gateway.topic("b", 1);
		gateway.store.bucket.historyMs = 20_000;
		for (let step = 0; step < STEPS; step++) {
			await this.#write();
			this.#weather();
			const run = gateway.uploader.run();
			run.catch(() => {});
			await gateway.world.clock.advance(random.between(0, 60_000));
			if (random.chance(0.3)) gateway.store.cut();
			if (random.chance(0.2)) this.#delete();
			await gateway.world.clock.advance(random.between(0, 20_000));
			this.tally.abandoned += gateway.rows("deleting");
			if (random.chance(0.2)) await this.#crash();
			else if (random.chance(0.15)) await this.#stop();
			if (step % 5 === 0) await gateway.check();
		}
		await this.#settle();
	}

	async #write(): Promise<void> {
		const random = this.#random;
		const [topic, number] = random.pick(PLACES);
		for (let i = random.between(0, 6); i > 0; i--)
			await this.#gateway.append(topic, random.between(1, 20), random.between(10, 2000), number);
	}

	#weather(): void {
		const random = this.#random;
		const { store } = this.#gateway;
		store.latencyMs = [0, random.pick([0, 50, 2000])];
		store.troubleChance = random.pick([0, 0, 0.1, 0.5]);
		store.away = random.chance(0.1);
		store.staleMs = random.pick([0, 0, 20_000]);
		store.bytesPerSecond = random.pick([Number.POSITIVE_INFINITY, 20_000]);
		const after = random.between(0, 10);
		const effect = random.pick(["none", "whole", "short"] as const);
		if (random.chance(0.3)) store.inject({ effect, answer: random.pick(["unreachable", "denied", "full"]), after });
		// It says that all is well.
		if (random.chance(0.2)) store.inject({ calls: ["put", "putPart", "completeUpload"], effect, answer: "ok", after });
	}

	#delete(): void {
		const [topic, number] = this.#random.pick(PLACES);
		const partition = this.#gateway.partition(topic, number);
		const offset = this.#random.between(partition.logStartOffset, partition.highWatermark);
		deleteRecordsBefore(this.#gateway.world.log, partition, offset);
		this.tally.deletions++;
	}

	async #crash(): Promise<void> {
		await this.#gateway.crash(this.#random.pick(["kill", "power cut"]), this.#random);
		await this.#gateway.start();
		this.tally.crashes++;
	}

	async #stop(): Promise<void> {
		await this.#gateway.stop();
		await this.#gateway.start();
		this.tally.stops++;
	}

	async #settle(): Promise<void> {
		const gateway = this.#gateway;
		const { store } = gateway;
		store.clearFaults();
		store.latencyMs = [0, 0];
		store.bytesPerSecond = Number.POSITIVE_INFINITY;
		await gateway.upload();
		// What is to go may go once a later snapshot is there, and the bundle that had the one before it after that.
		for (let i = 0; i < 2; i++) {
			await gateway.append("b", 1);
			await gateway.upload();
		}
		await gateway.world.clock.advance(24 * HOUR);
		this.tally.bundles = gateway.rows("stored");
		this.tally.records = await gateway.check();
		for (const [topic, number] of PLACES) {
			const { logStartOffset, highWatermark, tieredOffset } = gateway.partition(topic, number);
			if (Math.max(logStartOffset, tieredOffset) !== highWatermark)
				throw new Error(`${topic}-${number} ends at ${highWatermark} and is tiered up to ${tieredOffset}`);
		}
		if (gateway.rows("deleting") + gateway.rows("uploading") > 0) throw new Error("attempts are left in the catalog");
		const objects = [...store.bucket.objects().keys()];
		if (objects.length !== gateway.rows("stored")) throw new Error(`objects are left over: ${objects.join(", ")}`);
		if (store.bucket.uploads().length > 0) throw new Error("uploads are left over");
	}
}

lives({
	file: "tier-upload",
	count: 8,
	promise: "every record, and no other object",
	make: (seed) => new UploadingLife(seed),
	perLife: { crashes: 2, stops: 1, deletions: 2, bundles: 1, abandoned: 1, records: 100 },
});
