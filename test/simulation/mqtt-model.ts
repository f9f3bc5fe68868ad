/**
 * What MQTT sessions must come to, in memory and in the plainest words: which events were published and what became of
 * them, what each session asked for and when, and what it was given. `Violation`s say what a promise was and who broke it.
 */
import type { Qos } from "../../bridge/mqtt/codec/packets.ts";
import { filterMatches } from "../../bridge/mqtt/topic-filter.ts";
import { Violation } from "./log-model.ts";

export interface Place {
	readonly partition: number;
	readonly offset: number;
}

export interface ModelEvent {
	readonly id: number;
	readonly topic: string;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly expires: boolean;
	readonly by: string;
	/** When it was first sent; a will's, when its connection was made. */
	readonly sentTurn: number;
	readonly isWill: boolean;
	/** Its sender was told that it is stored. */
	acked: boolean;
	/** It may be stored, and sent, more than once. */
	sends: number;
	/** Where it is in the log. */
	readonly places: Place[];
	/** Of the packet, at most. */
	bytes: number;
	/** Of a will: what must become of it. */
	fate: "may" | "must" | "never";
}

export interface ModelSubscription {
	readonly filter: string;
	readonly match: string;
	readonly kind: "plain" | "share" | "replay";
	readonly group: string;
	readonly qos: Qos;
	readonly askedTurn: number;
	/** SUBACK came. */
	ackTurn: number | undefined;
	/** UNSUBSCRIBE was sent. */
	leftTurn: number | undefined;
	/** UNSUBACK came. */
	overTurn: number | undefined;
	readonly noLocal: boolean;
	/** How often it was asked for. */
	times: number;
}

export interface Arrival {
	readonly turn: number;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly dup: boolean;
	/** The application saw it. */
	readonly seen: boolean;
	/** The door knows that the link which it came over is gone. */
	readonly linkOver: () => boolean;
	readonly crashes: number;
}

/** A session as its client knows it. */
export class ModelSession {
	readonly client: string;
	readonly number: number;
	readonly kept: boolean;
	readonly retainAsPublished: boolean;
	/** Every filter ever asked for, newest last. */
	readonly subscriptions: ModelSubscription[] = [];
	readonly got = new Map<number, Arrival[]>();
	/** The client, or its absence, ended it. */
	over = false;
	/** Something in it was promised to be stored. */
	confirmed = false;
	/** The largest packet that it takes; 0: any. */
	packetBytes = 0;

	constructor(client: string, number: number, kept: boolean, retainAsPublished: boolean) {
		this.client = client;
		this.number = number;
		this.kept = kept;
		this.retainAsPublished = retainAsPublished;
	}

	get name(): string {
		return `${this.client}#${this.number}`;
	}

	/** What it subscribes to now, as far as it knows. */
	active(): ModelSubscription[] {
		return this.subscriptions.filter(({ ackTurn, leftTurn }) => ackTurn !== undefined && leftTurn === undefined);
	}

	current(filter: string): ModelSubscription | undefined {
		return this.subscriptions.findLast((each) => each.filter === filter && each.overTurn === undefined);
	}
}

export class MqttModel {
	readonly events = new Map<number, ModelEvent>();
	readonly sessions: ModelSession[] = [];
	readonly story: string[] = [];
	/** Counts what happens. */
	turn = 0;
	crashes = 0;
	/** By topic: what its last retained message in the log is; 0: none. */
	readonly retained = new Map<string, { readonly id: number; readonly place: Place; readonly expires: boolean }>();
	/** By partition: event id (0: no id) by offset. */
	readonly log = new Map<number, { id: number; topic: string }[]>();
	readonly excused = { retention: 0, expiry: 0, wentWithSession: 0 };
	#nextId = 1;

	/** For the story. */
	nowMs: () => number = () => 0;

	tell(what: string): void {
		this.story.push(`${this.turn} ${this.nowMs().toFixed(1)} ${what}`);
	}

	publish(event: Omit<ModelEvent, "id" | "bytes" | "places" | "acked" | "sends" | "fate" | "sentTurn">): ModelEvent {
		const made: ModelEvent = {
			...event,
			id: this.#nextId++,
			sentTurn: ++this.turn,
			acked: false,
			sends: 0,
			bytes: 100,
			places: [],
			fate: "may",
		};
		this.events.set(made.id, made);
		return made;
	}

	/** The log shows this record, which is durable. */
	stored(place: Place, topic: string, id: number, retain: boolean, expires: boolean): void {
		let partition = this.log.get(place.partition);
		if (partition === undefined) {
			partition = [];
			this.log.set(place.partition, partition);
		}
		const known = partition[place.offset];
		if (known !== undefined) {
			if (known.id !== id)
				throw new Violation(
					`offset ${place.offset} of partition ${place.partition} changed from e${known.id} to e${id}`,
				);
			return;
		}
		partition[place.offset] = { id, topic };
		const event = this.events.get(id);
		if (event !== undefined) {
			event.places.push(place);
			const { qos, isWill, places, sends, fate } = event;
			const most = isWill || qos !== 1 ? 1 : sends;
			if (places.length > most)
				throw new Violation(`e${id} of QoS ${qos} is ${places.length} times in the log; ${most} is the most`);
			if (isWill && fate === "never")
				throw new Violation(`the will e${id} was published after its connection had ended in order`);
			if (event.topic !== topic) throw new Violation(`e${id} was published to ${event.topic} and stored as ${topic}`);
		} else if (id !== 0) throw new Violation(`the log has e${id}, which nobody published`);
		if (retain) this.retained.set(topic, { id, place, expires });
	}

	/** A PUBLISH came to a session. `seen`: not a resend that the client had. */
	arrived(session: ModelSession, id: number, topic: string, arrival: Arrival): void {
		const event = this.events.get(id);
		if (event === undefined) throw new Violation(`${session.name} got e${id}, which nobody published`);
		if (event.topic !== topic) throw new Violation(`${session.name} got e${id} of ${event.topic} as ${topic}`);
		if (arrival.qos > event.qos)
			throw new Violation(`${session.name} got e${id} at QoS ${arrival.qos}, published at ${event.qos}`);
		const wanted = session.subscriptions.some(
			({ match, overTurn }) => filterMatches(match, topic) && (overTurn === undefined || event.sentTurn < overTurn),
		);
		if (!wanted) throw new Violation(`${session.name} got e${id} of ${topic}, which it does not subscribe to`);
		this.#checkLocal(session, event, arrival);
		if (arrival.retain && !event.retain)
			throw new Violation(`${session.name} got e${id} as retained, which it was not`);
		let arrivals = session.got.get(id);
		if (arrivals === undefined) {
			arrivals = [];
			session.got.set(id, arrivals);
		}
		arrivals.push(arrival);
		if (!arrival.seen) return;
		if (arrival.qos === 2) this.#checkOnce(session, event, arrivals);
		if (!arrival.retain) this.#checkGroups(session, event, arrival);
	}

	/** No Local: what it published itself after it had asked for that. */
	#checkLocal(session: ModelSession, event: ModelEvent, arrival: Arrival): void {
		if (event.by !== session.client || event.isWill || arrival.retain) return;
		const matching = session.subscriptions.filter(({ match }) => filterMatches(match, event.topic));
		const isLocal = matching.every(
			({ noLocal, ackTurn }) => noLocal && ackTurn !== undefined && ackTurn < event.sentTurn,
		);
		if (isLocal) throw new Violation(`${session.name} got its own e${event.id} in spite of No Local`);
	}

	/** QoS 2: once for each way in which it was asked for. */
	#checkOnce(session: ModelSession, event: ModelEvent, arrivals: readonly Arrival[]): void {
		if (session.retainAsPublished && event.retain) return;
		const times = arrivals.filter(({ seen, qos, retain }) => seen && qos === 2 && !retain).length;
		let most = 0;
		let plain = 0;
		for (const { kind, match, times: asked } of session.subscriptions) {
			if (!filterMatches(match, event.topic)) continue;
			if (kind === "plain") plain = 1;
			else most += kind === "share" ? 1 : asked;
		}
		most += plain;
		if (times > most) throw new Violation(`${session.name} got e${event.id} ${times} times at QoS 2; ${most} is right`);
	}

	/** One member of a group: never two that live, without one having gone. */
	#checkGroups(session: ModelSession, event: ModelEvent, arrival: Arrival): void {
		const onlyBy = (each: ModelSession): string | undefined => {
			const matching = each.subscriptions.filter(({ match }) => filterMatches(match, event.topic));
			const [first] = matching;
			return matching.every((one) => one.kind === "share" && one.group === first!.group) ? first?.group : undefined;
		};
		const group = onlyBy(session);
		if (group === undefined) return;
		for (const other of this.sessions) {
			if (other === session || !other.got.has(event.id) || onlyBy(other) !== group) continue;
			for (const former of other.got.get(event.id)!) {
				if (!former.seen || former.retain) continue;
				const both = `e${event.id} of the group ${group} went to ${other.name} and to ${session.name}`;
				if (former.qos === 2 && arrival.qos === 2 && other.kept && !other.over)
					throw new Violation(`${both}, at QoS 2`);
				if (
					!former.linkOver() &&
					!arrival.linkOver() &&
					former.crashes === arrival.crashes &&
					event.places.length < 2 &&
					event.sends < 2
				) {
					throw new Violation(`${both}, which are both there`);
				}
			}
		}
	}

	/** At rest: everything was acknowledged and every session is connected. `gone`: by partition, the log's start. */
	atRest(live: readonly ModelSession[], gone: ReadonlyMap<number, number>): void {
		for (const event of this.events.values()) this.#checkStored(event);
		for (const session of live) this.#checkSession(session, gone);
		this.#checkEveryGroup(live, gone);
	}

	#checkStored(event: ModelEvent): void {
		if (event.acked && event.places.length === 0)
			throw new Violation(`e${event.id} was acknowledged and is not in the log`);
		if (event.isWill && event.fate === "must" && event.places.length !== 1)
			throw new Violation(`the will e${event.id} of ${event.by} was not published`);
	}

	#dueOf(event: ModelEvent, gone: ReadonlyMap<number, number>): boolean {
		if (event.places.length === 0 || event.qos === 0) return false;
		if (event.expires) {
			this.excused.expiry++;
			return false;
		}
		if (event.places.some(({ partition, offset }) => offset < (gone.get(partition) ?? 0))) {
			this.excused.retention++;
			return false;
		}
		return true;
	}

	#checkSession(session: ModelSession, gone: ReadonlyMap<number, number>): void {
		const own = session.active().filter(({ kind, qos }) => kind !== "share" && qos > 0);
		for (const event of this.events.values()) {
			if (session.got.has(event.id)) continue;
			const by = own.find(
				({ match, ackTurn, noLocal }) =>
					filterMatches(match, event.topic) && event.sentTurn > ackTurn! && !(noLocal && event.by === session.client),
			);
			if (by === undefined || !this.#dueOf(event, gone)) continue;
			if (session.packetBytes > 0 && event.bytes > session.packetBytes) continue;
			throw new Violation(
				`${session.name} never got e${event.id} of ${event.topic} (${where(event)}), for ${by.filter}`,
			);
		}
		this.#checkOrder(session);
	}

	/** First deliveries at one QoS come in the log's order, topic by topic, where nothing but plain filters match. */
	#checkOrder(session: ModelSession): void {
		const firsts: { event: ModelEvent; qos: Qos; turn: number }[] = [];
		for (const [id, arrivals] of session.got) {
			const event = this.events.get(id)!;
			const plain = session.subscriptions.every(
				({ kind, match }) => kind === "plain" || !filterMatches(match, event.topic),
			);
			const first = arrivals.find(({ retain }) => !retain);
			if (!plain || event.retain || event.places.length !== 1 || first === undefined) continue;
			// Over the same filters the same events come at the same QoS; a change of them changes that.
			firsts.push({ event, qos: first.qos, turn: first.turn });
		}
		firsts.sort((a, b) => a.turn - b.turn);
		const last = new Map<string, ModelEvent>();
		for (const { event, qos } of firsts) {
			const key = `${event.topic} at QoS ${qos}`;
			const former = last.get(key);
			if (former !== undefined && former.places[0]!.offset > event.places[0]!.offset) {
				throw new Violation(
					`${session.name} got ${key} out of order: e${former.id} (${where(former)}) before e${event.id} (${where(event)})`,
				);
			}
			last.set(key, event);
		}
	}

	/** Every event came to a member, from when a member that is still there was told that it is one. */
	#checkEveryGroup(live: readonly ModelSession[], gone: ReadonlyMap<number, number>): void {
		const since = new Map<string, { turn: number; match: string }>();
		for (const session of live) {
			for (const { kind, group, qos, ackTurn, match } of session.active()) {
				if (kind !== "share" || qos === 0) continue;
				const former = since.get(group);
				if (former === undefined || ackTurn! < former.turn) since.set(group, { turn: ackTurn!, match });
			}
		}
		for (const [group, { turn, match }] of since) {
			for (const event of this.events.values()) {
				if (event.sentTurn <= turn || !filterMatches(match, event.topic)) continue;
				const members = this.sessions.filter((session) => session.subscriptions.some((each) => each.group === group));
				if (members.some((session) => session.got.has(event.id))) continue;
				// What a member at QoS 0 was given, or one that has ended, may have gone with it.
				const mayTakeItAway = (each: ModelSession) =>
					each.subscriptions.some((one) => one.group === group && one.qos === 0) ||
					(event.qos === 2 && (each.over || !each.kept)) ||
					(each.packetBytes > 0 && event.bytes > each.packetBytes);
				if (members.some(mayTakeItAway)) {
					this.excused.wentWithSession++;
					continue;
				}
				if (!this.#dueOf(event, gone)) continue;
				throw new Violation(`no member of ${group} got e${event.id} of ${event.topic} (${where(event)})`);
			}
		}
	}
}

function where({ places }: ModelEvent): string {
	return places.map(({ partition, offset }) => `${partition}:${offset}`).join(", ");
}
