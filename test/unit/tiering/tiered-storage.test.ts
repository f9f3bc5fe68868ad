/** Tiered storage as it is wired in a gateway: what it does to a store depends on whose place there it is. */
import { expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { TierFinding } from "../../../src/broker/tier-admin.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../../src/record/builder.ts";
import { bundleKey } from "../../../tiering/bundle/identity.ts";
import { claimKey } from "../../../tiering/object-keys.ts";
import { TieredStorage } from "../../../tiering/tiered-storage.ts";
import { World } from "../../simulation/world.ts";
import { inlineCompression } from "../../support/inline-compression.ts";
import { SimulatedBucket } from "../../support/simulated-bucket.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const GATEWAY = "gw-1";
const KEY = encodeKeyBlock(Buffer.from("k"));
const HOUR = 3_600_000;

function newWorld(): World {
	const world = new World(new SimulatedRandom(11), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.retention.ms": "-1", "log.remote.storage.enable": "true" },
		tearNeighbours: false,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t" });
	return world;
}

async function append(world: World): Promise<void> {
	const value = Buffer.from("v");
	(world.partition("t", 0) as Partition).appendRecord(1, KEY, value, 0, value.length, EMPTY_HEADERS_BLOCK);
	await world.finish(world.log.whenCommitted());
}

function open(world: World, store: SimulatedStore): Promise<TieredStorage> {
	return world.finish(
		TieredStorage.open(world.broker, store, {
			...{ gatewayId: GATEWAY, writer: "test", schedule: "never", window: "", uploadBytes: 0, uploadAgeMs: 0 },
			...{ bundleBytes: 1 << 20, cacheFolder: "/data/tier-cache", cacheBytes: 0, windowBytes: 65_536 },
			uplink: undefined,
			compression: inlineCompression,
		}),
	);
}

it("stores nothing in another store than the one that has what it stored", async () => {
	const world = newWorld();
	const { clock } = world;
	const first = new SimulatedStore({ clock, bucket: new SimulatedBucket({ clock }), name: "one" });
	const second = new SimulatedStore({ clock, bucket: new SimulatedBucket({ clock }), name: "two" });
	const before = await open(world, first);
	await append(world);
	await world.finish(before.run());
	await world.finish(before.stop());
	const after = await open(world, second);
	await append(world);
	await expect(world.finish(after.run())).rejects.toThrow(/has nothing of incarnation 1 .* Set objectStore.url back/);
	expect([...second.bucket.objects().keys()]).toEqual([]);
	// What was there was brought there: it may go by another name.
	for (const [key, bytes] of first.bucket.objects()) second.bucket.plant(key, bytes);
	await world.finish(after.run());
	expect(world.partition("t", 0)?.tieredOffset).toBe(2);
	await world.finish(after.stop());
});

it("removes nothing once another has taken its place: that may have been restored from an upload which came to nothing here", async () => {
	const world = newWorld();
	const { clock } = world;
	const store = new SimulatedStore({ clock, bucket: new SimulatedBucket({ clock }) });
	const storage = await open(world, store);
	await append(world);
	await world.finish(storage.run());
	await append(world);
	store.inject({ calls: ["getLast"], effect: "none", answer: "denied" });
	await expect(world.finish(storage.run())).rejects.toThrow(/denied/);
	const [, bundle] = [...store.bucket.objects().keys()].filter((key) => key.endsWith(".bundle")) as [string, string];
	const claim = { format: 1, identity: "f".repeat(32), gateway: GATEWAY, incarnation: 2, claimedMs: 1, writer: "test" };
	store.bucket.plant(claimKey(GATEWAY, 2), Buffer.from(JSON.stringify(claim)));
	storage.start();
	await clock.advance(3 * HOUR);
	expect([...store.bucket.objects().keys()]).toContain(bundle);
	const said = world.lines.filter(({ message }) => message === "objects cannot be removed from the object store");
	expect(said.map(({ fields }) => String(fields.error))).toEqual([expect.stringMatching(/was restored elsewhere/)]);
	await world.finish(storage.stop());
});

it("lets others have their turn between two objects that it compares", async () => {
	const world = newWorld();
	const { clock } = world;
	const store = new SimulatedStore({ clock, bucket: new SimulatedBucket({ clock }) });
	const storage = await open(world, store);
	await append(world);
	await world.finish(storage.run());
	const { tier } = world.broker.catalog;
	const bundles = 20;
	for (let sequence = 2; sequence <= bundles; sequence++) {
		const key = bundleKey({ gateway: GATEWAY, incarnation: 1, sequence, attempt: "00000000" });
		store.bucket.plant(key, Buffer.from("x"));
		tier.commitBundle(tier.beginBundle({ incarnation: 1, sequence, key, createdMs: 0 }), 1, []);
	}
	let turns = 0;
	let isDone = false;
	const others = (): void => {
		turns += 1;
		if (!isDone) clock.soon(others);
	};
	const verified = { objects: 0, bytes: 0, ranges: 0, done: false };
	const findings: TierFinding[] = [];
	const verify = async (): Promise<void> => {
		for await (const finding of storage.verify(false, (done) => Object.assign(verified, done))) findings.push(finding);
		isDone = true;
	};
	clock.soon(others);
	await world.finish(verify());
	expect(findings).toEqual([]);
	// And the claim.
	expect(verified).toMatchObject({ objects: bundles + 1, ranges: 1, done: true });
	expect(turns).toBeGreaterThanOrEqual(bundles);
	await world.finish(storage.stop());
});

it("uploads nothing more where a copy of its data directory, or a newer state of it, has", async () => {
	const world = newWorld();
	const { clock } = world;
	const bucket = new SimulatedBucket({ clock });
	const storage = await open(world, new SimulatedStore({ clock, bucket }));
	await append(world);
	await world.finish(storage.run());
	const sequence = world.broker.catalog.tier.lastSequence();
	bucket.plant(
		bundleKey({ gateway: GATEWAY, incarnation: 1, sequence, attempt: "00000000" }),
		Buffer.from("an attempt"),
	);
	await append(world);
	await world.finish(storage.run());
	const next = { gateway: GATEWAY, incarnation: 1, sequence: sequence + 7, attempt: "0badcafe" };
	bucket.plant(bundleKey(next), Buffer.from("the copy's"));
	const before = bucket.objects().size;
	await append(world);
	await expect(world.finish(storage.run())).rejects.toThrow(/copy or an older backup/);
	expect(bucket.objects().size).toBe(before);
	// What it was stored as is known though the row is gone.
	expect(world.broker.catalog.tier.lastSequence()).toBe(sequence + 1);
});

it("finds nothing wrong with an object that was removed rightly while all bytes were being read", async () => {
	const world = newWorld();
	const { clock, broker } = world;
	const store = new SimulatedStore({ clock, bucket: new SimulatedBucket({ clock }) });
	const storage = await open(world, store);
	for (let i = 0; i < 2; i++) {
		await append(world);
		await world.finish(storage.run());
	}
	const [first] = broker.catalog.tier.bundles("stored");
	if (first === undefined) throw new Error("nothing is stored");
	const findings: TierFinding[] = [];
	const verify = async (): Promise<void> => {
		for await (const finding of storage.verify(true, () => {})) findings.push(finding);
	};
	// Its page of the catalog has been read by then, and the store still lists it.
	const verified = verify();
	deleteRecordsBefore(broker.log, world.partition("t", 0) as Partition, 1);
	expect(broker.catalog.tier.bundle(first.id)?.state).toBe("deleting");
	store.inject({ calls: ["getLast"], key: new RegExp(first.key), effect: "none", answer: "not-found" });
	await world.finish(verified);
	expect(findings).toEqual([]);
	await world.finish(storage.stop());
});
