/**
 * The real process with MQTT subscribers, killed with SIGKILL at seeded instants while sessions, groups, retained messages and wills
 * are in use. Clients keep the standard's rules over all of it; at the end everything drains, and what came is held
 * against what was acknowledged.
 *
 *   CRASHES=100 npx vitest run test/crash/mqtt-subscribers     more of them
 *   SEED=7 npx vitest run test/crash/mqtt-subscribers          other instants
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { GatewayProcess } from "../../device-sim/gateway-process.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { ChangingSubscriber, RetainedWalker } from "./mqtt-changing.ts";
import { Court } from "./mqtt-court.ts";
import { DoubleArrivals, GroupArrivals, NumberedPublisher, NumberedTopics, OwnArrivals } from "./mqtt-numbers.ts";
import { lookAtRetained, publishLast, RetainedPublisher, RetainedTopics } from "./mqtt-retained.ts";
import { MqttSession } from "./mqtt-session.ts";
import { WillBook, WillClient } from "./mqtt-wills.ts";

const CRASHES = Number(process.env.CRASHES ?? 6);
const SEED = process.env.SEED ?? "1";
/** Of the kills, this part while the gateway starts. */
const WHILE_STARTING = 0.15;
/** Of the lives, this part does not wait for all clients to be connected. */
const HURRIED = 0.25;
const CONNECT_MS = 5000;
/** Of the clients, this part stays away for a life. */
const AWAY = 0.1;
/** In each step of a few milliseconds. */
const CUT = 0.04;
const DRAIN_MS = 40_000;
const KEPT = 0xffff_ffff;

const folder = mkdtempSync(join(tmpdir(), "headwater-crash-mqtt-"));
const random = new SimulatedRandom(SEED);
const court = new Court();
const numbers = new NumberedTopics();
const retained = new RetainedTopics();
const sessions: MqttSession[] = [];
let gateway: GatewayProcess;
/** Once everything else stands. */
let changer: ChangingSubscriber | undefined;

const numbered = ([1, 2] as const).flatMap((qos) =>
	["a", "b"].map((name) => {
		const topics = [0, 1].map((each) => `crash/q${qos}/${name}/${each}`);
		return new NumberedPublisher(kept(`from-${qos}${name}`, 20), numbers, topics, qos, random);
	}),
);
const retaining = ([1, 2] as const).map((qos) => {
	const topics = [0, 1, 2, 3].map((each) => `state/q${qos}/${each}`);
	return new RetainedPublisher(kept(`state-${qos}`, 20), retained, topics, qos, random);
});
const own = [
	subscriber("one-wide", 200, 1),
	subscriber("one-narrow", 4, 1),
	subscriber("two-wide", 100, 2),
	subscriber("two-narrow", 3, 2),
];
const groups = [group("g", ["g1", "g2", "g3"], 1), group("h", ["h1", "h2"], 2)];
const both = kept("both", 20);
const double = new DoubleArrivals(court, both, numbers);
const fixed = Array.from({ length: 30 }, (_, i) => `fixed/${i}`);
const walkers = [walker("walk-1", 1), walker("walk-2", 2)];
const changing = kept("changing", 10);
const helper = kept("helper", 10);
const watcher = kept("watcher", 10);
const wills = new WillBook(court, watcher);
const willClients = (["now", "later", "withSession", "returns"] as const).flatMap((way) =>
	[1, 2].map((each) => new WillClient(court, wills, random, `will-${way}${each}`, way)),
);

beforeAll(async () => {
	// Small files: checkpoints, rolled segments and recycled journal files happen within a second of load.
	const settings = [
		"journal.file.bytes=1048576",
		"log.segment.bytes=131072",
		"message.max.bytes=65536",
		"mqtt.max.packet.bytes=32768",
		"num.partitions=3",
	];
	gateway = await GatewayProcess.create({
		dataDirectory: join(folder, "data"),
		arguments: settings.flatMap((setting) => ["--set", setting]),
	});
	court.context = () => `The gateway says:\n${gateway.output}`;
	gateway.onUnexpectedExit = (how) => court.accuse("gateway", `ended: ${how}\n${gateway.output}`);
});

afterAll(async () => {
	for (const session of sessions) session.cut();
	for (const client of willClients) client.leave();
	await gateway.kill();
	rmSync(folder, { recursive: true, force: true });
});

it(`keeps its promises to subscribers in ${CRASHES} kills`, { timeout: 120_000 + CRASHES * 5000 }, async () => {
	await gateway.start();
	await begin();
	let kills = 0;
	while (kills < CRASHES) {
		court.life++;
		await live(random.between(20, 500));
		await kill();
		kills++;
		while (kills < CRASHES && random.chance(WHILE_STARTING)) {
			gateway.spawn();
			await pause(random.between(0, 400));
			await gateway.kill();
			kills++;
		}
		await start();
		court.check();
	}
	await end();
	for (const [topic, { acknowledged }] of numbers.topics) expect(acknowledged, topic).toBeGreaterThan(0);
});

/** All that has to stand before anything is published. */
async function begin(): Promise<void> {
	let asked = 0;
	const granted = () => void asked--;
	const ask = (session: MqttSession, filter: string, qos: 1 | 2) => {
		asked++;
		session.subscribe(filter, qos, granted);
	};
	for (const { session, qos } of own) ask(session, "crash/#", qos);
	for (const { name, members, qos } of groups) for (const member of members) ask(member, `$share/${name}/crash/#`, qos);
	for (const filter of ["crash/#", "$share/both/crash/#"]) ask(both, filter, 2);
	ask(watcher, "wills/#", 2);
	for (const session of sessions) session.connect(gateway.mqttPort);
	asked += fixed.length + 1;
	for (const topic of fixed) helper.publish(topic, topic, { qos: 2, retain: true }, granted);
	publishLast(helper, granted);
	await until(() => (asked === 0 ? [] : [`${asked} of the first requests have no answer`]));
	changer = new ChangingSubscriber(court, changing, helper);
	for (const each of walkers) each.start();
}

async function start(): Promise<void> {
	await gateway.start();
	court.killing = false;
	for (const { arrivals } of groups) arrivals.inOrder = true;
}

async function kill(): Promise<void> {
	court.killing = true;
	if (gateway.output.includes('"level":"error"')) court.accuse("gateway", gateway.output);
	await gateway.kill();
	const open = () => sessions.filter(({ offline }) => !offline).map(({ clientId }) => `${clientId} is still connected`);
	await until(() => [
		...open(),
		...willClients.filter(({ offline }) => !offline).map(() => "a will's client is still connected"),
	]);
}

/** Load for a while; nothing depends on how much. */
async function live(ms: number): Promise<void> {
	const { mqttPort } = gateway;
	let allWereHere = random.chance(HURRIED);
	let over = performance.now() + ms + (allWereHere ? 0 : CONNECT_MS);
	const away = new Set(sessions.filter(() => random.chance(AWAY)));
	const known = retained.acknowledged();
	let looks = true;
	const quiet = random.chance(0.5);
	void lookAtRetained(court, random, mqttPort).then((told) => {
		looks = false;
		if (told !== undefined) retained.judge(court, known, told, quiet);
	});
	while (performance.now() < over) {
		const here = sessions.filter((session) => !away.has(session) && !(looks && quiet && isRetaining(session)));
		for (const session of here) if (session.offline) session.connect(mqttPort);
		if (!allWereHere && here.every(({ online }) => online)) {
			allWereHere = true;
			over = performance.now() + ms;
		}
		for (const each of numbered) if (each.session.online) each.publish(random.between(0, 2));
		for (const each of retaining) if (each.session.online) each.publish(random.between(0, 2));
		for (const client of willClients) client.act(mqttPort);
		if (random.chance(CUT)) {
			const session = random.pick(sessions);
			for (const { members, arrivals } of groups) if (members.includes(session)) arrivals.inOrder = false;
			if (session.online && random.chance(0.3)) session.connect(mqttPort);
			else session.cut();
		}
		await pause(random.between(1, 10));
	}
}

function isRetaining(session: MqttSession): boolean {
	return retaining.some((each) => each.session === session);
}

/** What nothing happened to proves nothing. */
function everythingHappened(): boolean {
	const willsCame = wills.count("must") > 0 && wills.count("never") > 0;
	return willsCame && retained.looks > 0 && changer!.done > 0 && walkers.every(({ rounds }) => rounds > 0);
}

/** Everything drains, the gateway is killed once more, and all that came is all that is to come. */
async function end(): Promise<void> {
	court.life++;
	const deadline = performance.now() + DRAIN_MS;
	while (!everythingHappened() && performance.now() < deadline) await live(200);
	expect(everythingHappened()).toBe(true);
	for (const each of walkers) each.stop();
	changer?.stop();
	for (const client of willClients) client.leave();
	await drain();
	await kill();
	await start();
	court.life++;
	for (const client of willClients) client.endSession(gateway.mqttPort);
	for (const session of sessions) session.connect(gateway.mqttPort);
	// What comes again comes before these.
	for (const each of numbered) each.publishToAll();
	await drain();
	const told = await lookAtRetained(court, random, gateway.mqttPort);
	if (told !== undefined) retained.judge(court, retained.acknowledged(), told, true);
	court.check();
}

async function drain(): Promise<void> {
	court.draining = true;
	for (const session of sessions) if (session.offline) session.connect(gateway.mqttPort);
	await until(() => [
		...sessions
			.filter(({ waiting }) => waiting > 0)
			.map(({ clientId, waiting }) => `${clientId} has ${waiting} unanswered`),
		...own.flatMap(({ arrivals }) => arrivals.missing()),
		...groups.flatMap(({ arrivals }) => arrivals.missing()),
		...double.missing(),
		...walkers.flatMap((each) => each.missing()),
		...(changer?.missing() ?? []),
		...wills.missing(),
	]);
}

/** `missing` names what is waited for. */
async function until(missing: () => readonly string[]): Promise<void> {
	const deadline = performance.now() + DRAIN_MS;
	for (let left = missing(); left.length > 0; left = missing()) {
		court.check();
		if (performance.now() > deadline) {
			for (const what of left) court.accuse(what.slice(0, what.indexOf(" ")), what);
			court.check();
		}
		await pause(10);
	}
	court.check();
}

function kept(clientId: string, receiveMaximum: number): MqttSession {
	const session = new MqttSession(court, random, { clientId, expirySeconds: KEPT, receiveMaximum });
	sessions.push(session);
	return session;
}

function subscriber(clientId: string, receiveMaximum: number, qos: 1 | 2) {
	const session = kept(clientId, receiveMaximum);
	return { session, qos, arrivals: new OwnArrivals(court, session, numbers, qos) };
}

function group(name: string, clientIds: readonly string[], qos: 1 | 2) {
	const members = clientIds.map((clientId) => kept(clientId, 10));
	return { name, members, qos, arrivals: new GroupArrivals(court, members, numbers, qos) };
}

function walker(clientId: string, qos: 1 | 2): RetainedWalker {
	return new RetainedWalker(court, kept(clientId, 3), fixed, qos, random);
}

function pause(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}
