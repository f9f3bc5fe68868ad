/**
 * Whole connections, fed with lives of clients that are partly right and partly not. Whatever they send: no exception leaves
 * the engine, nothing is logged as an error, every answer is a packet, what was acknowledged is in the log, every connection
 * answers or ends, and when all are gone no memory is counted any more.
 *
 * `FUZZ=n` runs n lives instead of 1,000, `FUZZ_SECONDS=n` as many of them as fit; a failure names its seed, and
 * `FUZZ_SEED=seed` runs the same lives again.
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Acknowledged, FuzzPeer } from "./peer.ts";
import { encoded, type Harm, harmed, life, PEERS, type Step } from "./steps.ts";
import { World } from "./world.ts";

const LIVES = Number(process.env.FUZZ ?? 1000);
const LIMIT_MS = Number(process.env.FUZZ_SECONDS ?? 600) * 1000;
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Lives that share one world, and so the sessions that those before them left. */
const LIVES_PER_WORLD = 50;

const escaped: unknown[] = [];
const note = (error: unknown) => void escaped.push(error);
beforeAll(() => void process.on("uncaughtException", note));
afterAll(() => void process.off("uncaughtException", note));

class Life {
	readonly world: World;
	readonly #slots: (FuzzPeer | undefined)[] = new Array(PEERS).fill(undefined);
	readonly #all: FuzzPeer[] = [];
	/** What happened, to be read when it went wrong. */
	readonly trace: string[] = [];

	constructor(world: World) {
		this.world = world;
	}

	async run(steps: readonly Step[]): Promise<void> {
		for (const step of steps) {
			await this.#step(step);
			this.#check();
		}
		await this.#end();
	}

	async #step(step: Step): Promise<void> {
		if (step.kind !== "send" && step.kind !== "open") this.trace.push(JSON.stringify(step));
		switch (step.kind) {
			case "turn":
				await this.world.settle();
				for (const peer of this.#all) peer.transport.deliverEnd();
				return;
			case "wait":
				await this.world.clock.advance(step.ms);
				for (const peer of this.#all) peer.transport.deliverEnd();
				return;
			case "close":
				this.#slots[step.at]?.transport.close();
				return;
			case "slow": {
				const peer = this.#slots[step.at];
				if (peer !== undefined) peer.transport.slow = step.slow;
				return;
			}
			case "open":
				this.#slots[step.at] = this.#open(step);
				return;
			case "send": {
				const peer = this.#slots[step.at];
				if (peer === undefined) return;
				const bytes = Buffer.concat(step.packets.map((each) => encoded(each, peer.version)));
				this.#send(peer, bytes, step.harm, step.cuts);
				return;
			}
		}
	}

	#open(step: Step & { kind: "open" }): FuzzPeer | undefined {
		// The one before goes on as it is: its client may be taken over, or time out.
		if (this.world.engine.connections.size > 16) return this.#slots[step.at];
		const peer = new FuzzPeer(this.world);
		this.#all.push(peer);
		this.#send(peer, encoded(step.packet, step.packet.version), step.harm, step.cuts);
		return peer;
	}

	/** In pieces, with whatever the engine does in between. */
	#send(peer: FuzzPeer, bytes: Buffer, harm: Harm, cuts: readonly number[]): void {
		const all = harmed(bytes, harm);
		const places = cuts.map((each) => each % (all.length + 1)).sort((a, b) => a - b);
		let from = 0;
		for (const to of [...places, all.length]) {
			if (to === from) continue;
			this.trace.push(`${this.#all.indexOf(peer)}: ${all.toString("hex", from, to)}`);
			if (!peer.send(all.subarray(from, to))) peer.broken = true; // the rest is lost to us
			from = to;
		}
	}

	#check(): void {
		for (const peer of this.#all) peer.readAnswers();
		if (this.world.errors.length > 0) throw new Error(`logged as an error: ${this.world.errors.join("; ")}`);
		if (escaped.length > 0) throw escaped.shift();
		for (const { connection, transport } of this.#all) {
			// After DISCONNECT the end waits for the commit that it says is durable.
			if (connection.ended && !transport.ending && !transport.closed && this.world.broker.log.idle)
				throw new Error("ended, and its transport is not");
		}
	}

	async #end(): Promise<void> {
		const { world } = this;
		for (const peer of this.#all) peer.transport.slow = false;
		await world.settle();
		for (const peer of this.#all) peer.transport.deliverEnd();
		this.#check();
		await this.#answersOrEnds();
		for (const peer of this.#all) peer.transport.close();
		await world.settle();
		// Wills that wait, and sessions that end with them.
		await world.clock.advance(5000);
		await world.settle();
		this.#check();
		expect(world.engine.connections.size, "connections").toBe(0);
		expect(world.engine.clients.size, "clients").toBe(0);
		expect(world.engine.outputBudget.unsentBytes, "output that waits").toBe(0);
		expect(world.broker.pressure.bytes, "bytes in flight").toBe(0);
		this.#acknowledgedIsStored(await world.newRecords());
	}

	/** Who stands between two packets is answered; who has not said CONNECT in time is gone. */
	async #answersOrEnds(): Promise<void> {
		const expecting = new Map<FuzzPeer, number>();
		for (const peer of this.#all) {
			const { connection, transport } = peer;
			if (connection.ended || transport.closed || transport.paused || !connection.session) continue;
			if (peer.broken || !peer.atBoundary) continue;
			expecting.set(peer, peer.pongs);
			peer.send(Buffer.of(0xc0, 0));
		}
		await this.world.settle();
		this.#check();
		for (const [peer, before] of expecting) {
			if (peer.connection.ended) continue;
			expect(peer.pongs, "PINGRESP").toBe(before + 1);
		}
		const silent = this.#all.filter(({ connection }) => connection.session === undefined && !connection.ended);
		if (silent.length === 0) return;
		await this.world.clock.advance(5000);
		for (const { connection } of silent) expect(connection.ended, "connections without CONNECT").toBe(true);
	}

	#acknowledgedIsStored(records: Awaited<ReturnType<World["newRecords"]>>): void {
		const stored = new Map<string, number>();
		const name = ({ topic, payload }: Acknowledged) => `${topic} ${payload}`;
		for (const { value, headers } of records) {
			const topic = headers.find(({ key }) => key === "mqtt.topic")?.value?.toString() ?? "";
			const key = name({ topic, payload: value?.toString("hex") ?? "" });
			stored.set(key, (stored.get(key) ?? 0) + 1);
		}
		for (const peer of this.#all) {
			for (const each of peer.acknowledged) {
				if (!stored.has(name(each))) throw new Error(`acknowledged and not stored: ${name(each)}`);
			}
		}
	}
}

it(`whatever clients send, the engine stands (seed ${SEED})`, { timeout: LIMIT_MS + 60_000 }, async () => {
	let lives = 0;
	let world: World | undefined;
	await fc.assert(
		fc.asyncProperty(life, async (steps) => {
			if (lives++ % LIVES_PER_WORLD === 0) {
				world?.drop();
				world = undefined;
			}
			world ??= new World(`${SEED}-${lives}`);
			const one = new Life(world);
			try {
				await one.run(steps);
			} catch (error) {
				if (error instanceof Error) error.message += `\n${one.trace.join("\n")}`;
				// What is tried next, to find a shorter life that fails, begins anew.
				world.drop();
				world = undefined;
				throw error;
			}
		}),
		{ numRuns: LIVES, seed: SEED, interruptAfterTimeLimit: LIMIT_MS },
	);
	world?.drop();
	if (process.env.FUZZ !== undefined) process.stdout.write(`${lives} lives\n`);
});
