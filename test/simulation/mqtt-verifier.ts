/** What a client that has just come must be given: the retained messages as they are, and the whole log where it asks for a replay. */
import { Violation } from "./log-model.ts";
import type { ModelSession, MqttModel } from "./mqtt-model.ts";

/** `session` has subscribed to everything, at rest. */
export function checkRetained(model: MqttModel, session: ModelSession): void {
	const got = new Map<string, number>();
	for (const [id, arrivals] of session.got) {
		for (const { retain } of arrivals) {
			if (!retain) continue; // a will that was due meanwhile
			const { topic } = model.events.get(id)!;
			if (got.has(topic))
				throw new Violation(`${session.name} got two retained messages of ${topic}: e${got.get(topic)} and e${id}`);
			got.set(topic, id);
		}
	}
	for (const [topic, { id, expires }] of model.retained) {
		const its = got.get(topic);
		if (its === undefined ? id === 0 || expires : its === id) continue;
		throw new Violation(`${topic} has ${name(id)} retained, and ${session.name} got ${name(its ?? 0)}`);
	}
	for (const topic of got.keys()) {
		if (!model.retained.has(topic))
			throw new Violation(`${session.name} got a retained message of ${topic}, which has none`);
	}
}

/** `session` has asked for everything from the earliest on, at rest; `starts`: the log's start, by partition. */
export function checkReplay(model: MqttModel, session: ModelSession, starts: ReadonlyMap<number, number>): void {
	const arrivals = [...session.got].flatMap(([id, each]) => each.map(({ turn }) => ({ id, turn })));
	arrivals.sort((a, b) => a.turn - b.turn);
	const got = new Map<number, number[]>();
	for (const { id } of arrivals) {
		const event = model.events.get(id)!;
		if (event.expires) continue;
		const [place] = event.places;
		if (place === undefined) throw new Violation(`${session.name} got e${id}, which is not in the log`);
		const { partition } = place;
		got.set(partition, [...(got.get(partition) ?? []), id]);
	}
	for (const [partition, records] of model.log) {
		const due = records
			.slice(starts.get(partition) ?? 0)
			.map(({ id }) => id)
			.filter((id) => model.events.get(id)?.expires === false);
		const its = got.get(partition) ?? [];
		if (its.join() !== due.join()) {
			throw new Violation(`a replay of partition ${partition} gave [${its.join(" ")}]; the log has [${due.join(" ")}]`);
		}
	}
}

function name(id: number): string {
	return id === 0 ? "nothing" : `e${id}`;
}
