/** What was thrown while a connection's packet was handled: what its client is told, and what the log is. */
import { BrokerError } from "../../src/base/errors.ts";
import { MqttError, type Version } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";

export interface Failure {
	readonly reasonCode: number;
	readonly why: string;
	/** What a CONNECT that was refused by the codec says of its version; undefined: nothing can be answered before CONNACK. */
	readonly version: Version | undefined;
}

export function explainFailure({ engine, transport, session }: Connection, error: unknown): Failure {
	const { logger } = engine.broker;
	const who = { peer: transport.peer, clientId: session?.clientId };
	if (error instanceof MqttError) {
		const { reasonCode, clause, message, version } = error;
		engine.stats.protocolErrors++;
		logger.debug("an MQTT connection broke the protocol", { ...who, reasonCode, clause, error: message });
		return { reasonCode, why: `${message} ${clause}`, version };
	}
	if (error instanceof BrokerError) {
		// Storage takes nothing now, not even a session's change.
		return { reasonCode: ReasonCode.QuotaExceeded, why: error.message, version: undefined };
	}
	const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
	logger.error("an MQTT connection failed", { ...who, error: text });
	const why = "the gateway could not go on with this connection";
	return { reasonCode: ReasonCode.ImplementationSpecificError, why, version: undefined };
}
