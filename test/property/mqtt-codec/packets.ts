/** Arbitrary packets of every type that are valid in a given version. */
import fc from "fast-check";
import {
	NO_PROPERTIES,
	type Packet,
	type PacketTypeName,
	type Properties,
	type Version,
} from "../../../bridge/mqtt/codec/packets.ts";
import {
	ownerBit,
	PROPERTIES,
	type PropertyOwner,
	type PropertySpec,
} from "../../../bridge/mqtt/codec/property-table.ts";
import { connackReturnCode } from "../../../bridge/mqtt/codec/reason-codes.ts";
import { REASON_RULES } from "../../../bridge/mqtt/codec/reason-table.ts";

export const version = fc.constantFrom<Version>(3, 4, 5);
export const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: "binary", maxLength: 12 }).map((one) => one.replaceAll("\0", ""));
/** What names something has no control characters. */
const name = text.map((one) => [...one].filter((each) => each >= " " && (each < "\u007f" || each > "\u009f")).join(""));
export const topic = name.map((one) => one.replace(/[+#]/g, "")).filter((one) => one.length > 0);
const packetId = fc.integer({ min: 1, max: 65_535 });
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);

const filter = fc
	.tuple(
		fc.option(
			topic.map((one) => one.replaceAll("/", "g")),
			{ freq: 4 },
		),
		fc.array(fc.oneof(topic, fc.constant("+")), { maxLength: 4 }),
		fc.constantFrom("", "#", "a", "+"),
	)
	.map(([share, levels, last]) => `${share === null ? "" : `$share/${share}/`}${[...levels, last].join("/")}`)
	.filter((one) => one !== "" && one !== "$share" && !/^\$share\/[^/]*\/?$/.test(one) && !one.startsWith("$share//"));

function value(spec: PropertySpec, owner: PropertyOwner): fc.Arbitrary<unknown> {
	const number = fc.integer({ min: spec.minimum, max: spec.maximum });
	if (spec.name === "subscriptionIdentifier") {
		return fc.array(number, { minLength: 1, maxLength: owner === "subscribe" ? 1 : 3 });
	}
	if (spec.name === "responseTopic") return topic;
	switch (spec.type) {
		case "pair":
			return fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 });
		case "text":
			return text;
		case "binary":
			return bytes;
		case "flag":
			return fc.boolean();
		default:
			return number;
	}
}

export function properties(owner: PropertyOwner, of: Version): fc.Arbitrary<Properties> {
	if (of !== 5) return fc.constant(NO_PROPERTIES);
	const model: Record<string, fc.Arbitrary<unknown>> = {};
	for (const spec of PROPERTIES) if (spec.owners & ownerBit(owner)) model[spec.name] = value(spec, owner);
	return fc
		.record(model, { requiredKeys: [] })
		.map((one) => {
			const { authenticationData, ...rest } = one;
			if (owner === "auth") return { authenticationMethod: "m", ...one };
			return rest.authenticationMethod === undefined ? rest : one;
		})
		.map((one) => one as Properties);
}

function reason(type: PacketTypeName, of: Version): fc.Arbitrary<number> {
	const codes = REASON_RULES[type]!.codes;
	if (of === 5) return fc.constantFrom(...codes);
	if (type !== "connack") return fc.constant(0);
	return fc.constantFrom(0, 0x84, 0x85, 0x86, 0x87, 0x88).filter((code) => connackReturnCode(code) !== undefined);
}

function connect(of: Version): fc.Arbitrary<Packet> {
	return fc
		.record({
			type: fc.constant("connect" as const),
			version: fc.constant(of),
			cleanStart: fc.boolean(),
			keepAliveSeconds: fc.integer({ min: 0, max: 65_535 }),
			clientId: of === 5 ? name : name.filter((one) => one.length > 0),
			username: fc.option(name, { nil: undefined }),
			password: fc.option(bytes, { nil: undefined }),
			will: fc.option(
				fc.record({ topic, payload: bytes, qos, retain: fc.boolean(), properties: properties("will", of) }),
				{ nil: undefined },
			),
			properties: properties("connect", of),
		})
		.map((one) => (of !== 5 && one.username === undefined ? { ...one, password: undefined } : one));
}

function publish(of: Version): fc.Arbitrary<Packet> {
	return fc
		.record({
			type: fc.constant("publish" as const),
			topic,
			payload: bytes,
			qos,
			retain: fc.boolean(),
			dup: fc.boolean(),
			packetId,
			properties: properties("publish", of),
			byAlias: fc.boolean(),
		})
		.map(({ byAlias, ...one }) => ({
			...one,
			topic: byAlias && one.properties.topicAlias !== undefined ? "" : one.topic,
			dup: one.dup && one.qos > 0,
			packetId: one.qos === 0 ? undefined : one.packetId,
		}));
}

function subscribe(of: Version): fc.Arbitrary<Packet> {
	const subscription = fc
		.record({
			filter,
			qos,
			noLocal: fc.boolean(),
			retainAsPublished: fc.boolean(),
			retainHandling: fc.constantFrom(0 as const, 1 as const, 2 as const),
		})
		.map((one) => {
			if (of !== 5) return { ...one, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
			return one.filter.startsWith("$share/") ? { ...one, noLocal: false } : one;
		});
	return fc.record({
		type: fc.constant("subscribe" as const),
		packetId,
		subscriptions: fc.array(subscription, { minLength: 1, maxLength: 4 }),
		properties: properties("subscribe", of),
	});
}

function suback(type: "suback" | "unsuback", of: Version): fc.Arbitrary<Packet> {
	const code = of === 5 ? reason(type, of) : fc.constantFrom(0, 1, 2, 0x80);
	const none = type === "unsuback" && of !== 5;
	return fc.record({
		type: fc.constant(type),
		packetId,
		reasonCodes: none ? fc.constant([]) : fc.array(code, { minLength: 1, maxLength: 5 }),
		properties: properties(type, of),
	});
}

/** An arbitrary packet of each type that the version has. */
export function packetsOf(of: Version): Record<string, fc.Arbitrary<Packet>> {
	const all: Record<PacketTypeName, fc.Arbitrary<Packet>> = {
		connect: connect(of),
		connack: fc
			.record({
				type: fc.constant("connack" as const),
				sessionPresent: fc.boolean(),
				reasonCode: reason("connack", of),
				properties: properties("connack", of),
			})
			.map((one) => ({ ...one, sessionPresent: one.sessionPresent && one.reasonCode === 0 && of !== 3 })),
		publish: publish(of),
		puback: ack("puback", of),
		pubrec: ack("pubrec", of),
		pubrel: ack("pubrel", of),
		pubcomp: ack("pubcomp", of),
		subscribe: subscribe(of),
		suback: suback("suback", of),
		unsubscribe: fc.record({
			type: fc.constant("unsubscribe" as const),
			packetId,
			filters: fc.array(filter, { minLength: 1, maxLength: 4 }),
			properties: properties("unsubscribe", of),
		}),
		unsuback: suback("unsuback", of),
		pingreq: fc.constant({ type: "pingreq" as const }),
		pingresp: fc.constant({ type: "pingresp" as const }),
		disconnect: ending("disconnect", of),
		auth: ending("auth", of),
	};
	const { auth, ...older } = all;
	return of === 5 ? { ...older, auth } : older;
}

function ack(type: "puback" | "pubrec" | "pubrel" | "pubcomp", of: Version): fc.Arbitrary<Packet> {
	return fc.record({
		type: fc.constant(type),
		packetId,
		reasonCode: reason(type, of),
		properties: properties(type, of),
	});
}

function ending(type: "disconnect" | "auth", of: Version): fc.Arbitrary<Packet> {
	return fc.record({ type: fc.constant(type), reasonCode: reason(type, of), properties: properties(type, of) });
}

export function anyPacket(of: Version): fc.Arbitrary<Packet> {
	return fc.oneof(...Object.values(packetsOf(of)));
}
