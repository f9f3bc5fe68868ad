/** Arbitrary lives of some clients: packets that make sense together, and what makes them wrong. */
import fc from "fast-check";
import { encodePacket } from "../../../bridge/mqtt/codec/encode.ts";
import { NO_PROPERTIES, type Packet, type Properties, type Version } from "../../../bridge/mqtt/codec/packets.ts";
import { properties } from "../mqtt-codec/packets.ts";

export const PEERS = 4;

export type Step =
	| {
			readonly kind: "send";
			readonly at: number;
			readonly packets: readonly Draft[];
			readonly harm: Harm;
			readonly cuts: readonly number[];
	  }
	| {
			readonly kind: "open";
			readonly at: number;
			readonly packet: Draft;
			readonly harm: Harm;
			readonly cuts: readonly number[];
	  }
	| { readonly kind: "turn" }
	| { readonly kind: "wait"; readonly ms: number }
	| { readonly kind: "close"; readonly at: number }
	| { readonly kind: "slow"; readonly at: number; readonly slow: boolean };

/** A packet before its version is known. */
export interface Draft {
	readonly version: Version;
	readonly packet: Packet;
}

/** How bytes are made wrong. */
export interface Harm {
	readonly how: "none" | "set" | "flip" | "delete" | "insert" | "repeat" | "cut" | "length";
	readonly at: number;
	readonly count: number;
	readonly bytes: Uint8Array;
}

const packetId = fc.integer({ min: 1, max: 5 });
const qos = fc.constantFrom(0 as const, 1 as const, 1 as const, 2 as const);
const clientId = fc.constantFrom("one", "two", "three", "");
const topic = fc.constantFrom("a", "a/b", "keyed/k/x", "a/b/c", "$SYS/x", "refused/y", "", "ü/🚲");
const filter = fc.constantFrom(
	"#",
	"a/+",
	"a/#",
	"keyed/+/x",
	"a",
	"$SYS/#",
	"$share/g/a/#",
	"$share/g/#",
	"+/b",
	"$replay/a",
);
const payload = fc.oneof(
	{ weight: 4, arbitrary: fc.uint8Array({ maxLength: 6 }) },
	{ weight: 1, arbitrary: fc.constant(new Uint8Array(0)) },
	{ weight: 1, arbitrary: fc.integer({ min: 900, max: 3500 }).map((size) => new Uint8Array(size)) },
);

type Owner = Parameters<typeof properties>[0];

function some(owner: Owner, small: Properties = {}): fc.Arbitrary<Properties> {
	return fc.oneof(
		{ weight: 4, arbitrary: fc.constant(NO_PROPERTIES) },
		{ weight: 2, arbitrary: fc.constant(small) },
		{ weight: 1, arbitrary: properties(owner, 5) },
	);
}

const will = fc.record({
	topic: topic.filter((one) => one !== ""),
	payload: payload.map((one) => Buffer.from(one)),
	qos,
	retain: fc.boolean(),
	properties: some("will", { willDelayInterval: 2 }),
});

const connect = fc.record({
	type: fc.constant("connect" as const),
	version: fc.constantFrom<Version>(3, 4, 4, 5, 5, 5),
	cleanStart: fc.boolean(),
	keepAliveSeconds: fc.constantFrom(0, 0, 2, 60),
	clientId,
	username: fc.option(fc.constant("user"), { nil: undefined, freq: 2 }),
	password: fc.constant(undefined),
	will: fc.option(will, { nil: undefined }),
	properties: fc.oneof(
		some("connect", { sessionExpiryInterval: 100, receiveMaximum: 2 }),
		fc.constantFrom<Properties>(
			{ sessionExpiryInterval: 3, topicAliasMaximum: 2, maximumPacketSize: 60 },
			{ sessionExpiryInterval: 4_294_967_295, maximumPacketSize: 1000, requestProblemInformation: false },
		),
	),
});

const publish = fc
	.record({
		topic,
		payload,
		qos,
		retain: fc.boolean(),
		dup: fc.boolean(),
		packetId,
		properties: some("publish", { topicAlias: 1 }),
	})
	.map(({ payload, ...one }) => ({
		...one,
		type: "publish" as const,
		payload: Buffer.from(payload),
		packetId: one.qos === 0 ? undefined : one.packetId,
		dup: one.dup && one.qos > 0,
	}));

const acknowledgement = fc.record({
	type: fc.constantFrom("puback" as const, "pubrec" as const, "pubrel" as const, "pubcomp" as const),
	packetId,
	reasonCode: fc.constantFrom(0, 0, 0, 0x80),
	properties: fc.constant(NO_PROPERTIES),
});

const subscribe = fc.record({
	type: fc.constant("subscribe" as const),
	packetId,
	subscriptions: fc.array(
		fc.record({
			filter,
			qos,
			noLocal: fc.boolean(),
			retainAsPublished: fc.boolean(),
			retainHandling: fc.constantFrom(0 as const, 1 as const, 2 as const),
		}),
		{ minLength: 1, maxLength: 3 },
	),
	properties: some("subscribe", { subscriptionIdentifier: [7] }),
});

const unsubscribe = fc.record({
	type: fc.constant("unsubscribe" as const),
	packetId,
	filters: fc.array(filter, { minLength: 1, maxLength: 3 }),
	properties: some("unsubscribe"),
});

const disconnect = fc.record({
	type: fc.constant("disconnect" as const),
	reasonCode: fc.constantFrom(0, 4),
	properties: some("disconnect", { sessionExpiryInterval: 1 }),
});

const packet: fc.Arbitrary<Packet> = fc.oneof(
	{ weight: 8, arbitrary: publish },
	{ weight: 5, arbitrary: acknowledgement },
	{ weight: 4, arbitrary: subscribe },
	{ weight: 1, arbitrary: unsubscribe },
	{ weight: 1, arbitrary: fc.constant({ type: "pingreq" as const }) },
	{ weight: 1, arbitrary: disconnect },
);

const harm: fc.Arbitrary<Harm> = fc.record({
	how: fc.constantFrom(
		"none",
		"none",
		"none",
		"none",
		"none",
		"none",
		"set",
		"flip",
		"delete",
		"insert",
		"repeat",
		"cut",
		"length",
	),
	at: fc.nat({ max: 4095 }),
	count: fc.integer({ min: 1, max: 9 }),
	bytes: fc.uint8Array({ minLength: 1, maxLength: 6 }),
});

const at = fc.nat({ max: PEERS - 1 });
const cuts = fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(fc.nat({ max: 100 }), { maxLength: 3 }));
const draft = packet.map((one): Draft => ({ version: 5, packet: one }));

const step: fc.Arbitrary<Step> = fc.oneof(
	{
		weight: 12,
		arbitrary: fc.record({
			kind: fc.constant("send" as const),
			at,
			packets: fc.array(draft, { minLength: 1, maxLength: 4 }),
			harm,
			cuts,
		}),
	},
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant("open" as const),
			at,
			packet: connect.map((one): Draft => ({ version: one.version, packet: one as Packet })),
			harm,
			cuts,
		}),
	},
	{ weight: 4, arbitrary: fc.constant({ kind: "turn" as const }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 1000, 4000) }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const), at }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("slow" as const), at, slow: fc.boolean() }) },
);

/** Most lives begin in order: some clients come in, subscribe, and only then things go wrong. */
const harmless: Harm = { how: "none", at: 0, count: 1, bytes: new Uint8Array(1) };
const arrivals = fc
	.array(fc.tuple(connect, subscribe), { maxLength: 3 })
	.map((all) =>
		all.flatMap(([first, second], slot): Step[] => [
			{ kind: "open", at: slot, packet: { version: first.version, packet: first }, harm: harmless, cuts: [] },
			{ kind: "send", at: slot, packets: [{ version: 5, packet: second }], harm: harmless, cuts: [] },
			{ kind: "turn" },
		]),
	);

export const life: fc.Arbitrary<Step[]> = fc
	.tuple(arrivals, fc.array(step, { minLength: 2, maxLength: 24, size: "max" }))
	.map(([first, rest]) => [...first, ...rest]);

/** The draft as bytes of that version; empty where the version has no such packet. */
export function encoded({ packet: one }: Draft, version: Version): Buffer {
	try {
		return encodePacket(version === 5 ? one : older(one, version), version);
	} catch (error) {
		if (error instanceof TypeError) return Buffer.alloc(0);
		throw error;
	}
}

function older(one: Packet, version: Version): Packet {
	const bare = "properties" in one ? ({ ...one, properties: NO_PROPERTIES } as Packet) : one;
	if (bare.type === "connect")
		return { ...bare, version, will: bare.will && { ...bare.will, properties: NO_PROPERTIES } };
	if (bare.type === "disconnect") return { ...bare, reasonCode: 0 };
	if (bare.type !== "subscribe") return bare;
	const subscriptions = bare.subscriptions.map((each) => ({
		...each,
		noLocal: false,
		retainAsPublished: false,
		retainHandling: 0 as const,
	}));
	return { ...bare, subscriptions };
}

/** The bytes, made wrong. */
export function harmed(bytes: Buffer, { how, at, count, bytes: foreign }: Harm): Buffer {
	if (bytes.length === 0) return bytes;
	const place = at % bytes.length;
	const before = bytes.subarray(0, place);
	const changed = Buffer.from(bytes);
	switch (how) {
		case "none":
			return bytes;
		case "set":
			changed[place] = foreign[0]!;
			return changed;
		case "flip":
			changed[place]! ^= 1 << (count % 8);
			return changed;
		case "delete":
			return Buffer.concat([before, bytes.subarray(place + count)]);
		case "insert":
			return Buffer.concat([before, foreign, bytes.subarray(place)]);
		case "repeat":
			return Buffer.concat([bytes.subarray(0, place + count), bytes.subarray(place)]);
		case "cut":
			return before;
		case "length":
			if (bytes.length > 1) changed[1] = foreign[0]!;
			return changed;
	}
}
