/**
 * Records that came in at no MQTT door, kept as retained messages: under the MQTT topic, and with the properties, that
 * subscribers see them with. For whoever appends them, so that record and message are in one commit.
 */
import type { Partition } from "../../src/log/partition.ts";
import { encodeBatch, type LogRecord } from "../../src/record/batch.ts";
import type { Engine } from "./engine.ts";
import type { RetainedMessage } from "./retained-store.ts";
import { EventReader } from "./stored-event.ts";

/** A change of the retained messages that is to be made in the commit of the record. */
export interface RecordRetained {
	/** What it adds to the commit at most. */
	readonly bytes: number;
	/** With the record's offset. Throws BrokerError POLICY_VIOLATION where there are as many as may be. */
	work(offset: number): void;
}

/**
 * What becomes of the retained message of a record's topic when the record is appended to `partition`: its value, or without
 * one nothing is retained any more [MQTT-3.3.1-6, -7]. Undefined where the record has no topic for subscribers, or nothing is
 * ever retained.
 */
export function retainsRecords(
	engine: Pick<Engine, "routes" | "retained" | "retainAvailable">,
): (partition: Partition, record: LogRecord) => RecordRetained | undefined {
	const reader = new EventReader(engine.routes);
	const { retained } = engine;
	return (partition, record) => {
		if (!engine.retainAvailable) return undefined;
		let message: RetainedMessage | undefined;
		// As a subscriber would read it, so that both see the same.
		reader.read(partition, encodeBatch([record]), 0, 0, (event) => {
			const { topic, source, payloadStart, payloadEnd, qos, timestampMs, expirySeconds, propertiesBlock } = event;
			if (topic === undefined) return true;
			const payload = source.subarray(payloadStart, payloadEnd);
			const place = { partition: partition.id, offset: 0 };
			message = { topic, payload, qos, timestampMs, expirySeconds, propertiesBlock, ...place };
			return true;
		});
		if (message === undefined) return undefined;
		const kept = message;
		return {
			bytes: retained.sizeOf(kept),
			work(offset) {
				if (kept.payload.length > 0) retained.put({ ...kept, offset });
				else retained.remove(kept.topic);
			},
		};
	};
}
