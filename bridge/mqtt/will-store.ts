/**
 * Wills as rows of the state table, from CONNECT until they are published or void: a gateway that is killed publishes
 * them when it starts again.
 */

import type { Log } from "../../src/log/log.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import type { Properties, Qos, Will } from "./codec/packets.ts";

const { MQTT_WILL } = StateSpace;
/** Read at once. */
const PAGE_ROWS = 256;
const PAGE_BYTES = 1024 * 1024;

/** The client whose will it is, as far as its publication needs it. */
export interface WillSender {
	readonly clientId: string;
	/** Of its session. */
	readonly expirySeconds: number;
	/** It must not get the will itself. */
	readonly noLocal: boolean;
}

/** Bytes as base64. */
interface Row {
	readonly format: 1;
	readonly expirySeconds: number;
	readonly noLocal: boolean;
	readonly topic: string;
	readonly payload: string;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly properties: Omit<Properties, "correlationData">;
	readonly correlationData?: string;
}

/** What changes anything throws BrokerError where storage takes nothing. */
export class WillStore {
	readonly #log: Log;

	constructor(log: Log) {
		this.#log = log;
	}

	put({ clientId, expirySeconds, noLocal }: WillSender, will: Will): void {
		const { correlationData, ...properties } = will.properties;
		const row: Row = {
			format: 1,
			expirySeconds,
			noLocal,
			topic: will.topic,
			payload: Buffer.from(will.payload).toString("base64"),
			qos: will.qos,
			retain: will.retain,
			properties,
			...(correlationData !== undefined && { correlationData: Buffer.from(correlationData).toString("base64") }),
		};
		this.#log.putState(MQTT_WILL, clientId, Buffer.from(JSON.stringify(row), "utf8"));
	}

	has(clientId: string): boolean {
		return this.#log.getState(MQTT_WILL, clientId) !== undefined;
	}

	delete(clientId: string): void {
		this.#log.deleteState(MQTT_WILL, clientId);
	}

	/** A few of them, behind `after`; none at the end. */
	page(after: string): [sender: WillSender, will: Will][] {
		const wills: [sender: WillSender, will: Will][] = [];
		for (const [clientId, bytes] of this.#log.pageState(MQTT_WILL, `${after}\0`, undefined, PAGE_ROWS, PAGE_BYTES)) {
			const row = JSON.parse(Buffer.from(bytes).toString("utf8")) as Row;
			if (row.format !== 1)
				throw new Error(`a will's row of format ${row.format}; this version knows 1: another wrote it`);
			const { expirySeconds, noLocal, topic, qos, retain, correlationData } = row;
			const properties: Properties =
				correlationData === undefined
					? row.properties
					: { ...row.properties, correlationData: Buffer.from(correlationData, "base64") };
			const payload = Buffer.from(row.payload, "base64");
			wills.push([
				{ clientId, expirySeconds, noLocal },
				{ topic, payload, qos, retain, properties },
			]);
		}
		return wills;
	}
}
