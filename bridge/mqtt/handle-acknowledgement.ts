/** PUBACK, PUBREC, PUBREL and PUBCOMP from a client (sections 3.4 to 3.7). */
import type { AckType } from "./codec/ack-view.ts";
import { PUBCOMP, PUBREL } from "./codec/first-bytes.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Connection } from "./connection.ts";
import type { Session } from "./session.ts";

/** QoS 2 deliveries whose rows wait for the session's cursor to be written behind them. */
const SETTLED_MAX = 512;

export function handleAcknowledgement(
	connection: Connection,
	session: Session,
	type: AckType,
	packetId: number,
	reasonCode: number,
): void {
	switch (type) {
		case "puback":
			session.outbox?.puback(packetId);
			return;
		case "pubrec":
			pubrec(connection, session, packetId, reasonCode);
			return;
		case "pubrel":
			pubrel(connection, session, packetId);
			return;
		case "pubcomp":
			session.outbox?.pubcomp(packetId);
			if ((session.outbox?.settled.length ?? 0) >= SETTLED_MAX) connection.engine.saveConnected(session);
	}
}

function pubrec(connection: Connection, session: Session, packetId: number, reasonCode: number): void {
	const refused = reasonCode >= 0x80;
	const known = session.outbox?.pubrec(packetId, refused) ?? false;
	if (refused) return;
	if (known && session.durable) {
		connection.output.responseOnCommit(PUBREL, packetId);
	} else if (known || connection.version !== 5) {
		connection.output.response(PUBREL, packetId);
		connection.outputPending();
	} else {
		const code = ReasonCode.PacketIdentifierNotFound;
		connection.send({ type: "pubrel", packetId, reasonCode: code, properties: {} });
	}
}

/**
 * The identifier is free again, and PUBCOMP says so only when that is durable: if a crash brought the identifier back,
 * the next publish under it would be taken for a resend.
 */
function pubrel(connection: Connection, session: Session, packetId: number): void {
	const known = session.received?.delete(packetId) ?? false;
	if (known && connection.unanswered > 0) connection.unanswered--;
	if (session.durable) connection.engine.sessions.deleteReceived(session, packetId);
	if (known || connection.version !== 5) {
		connection.output.responseOnCommit(PUBCOMP, packetId);
	} else {
		const code = ReasonCode.PacketIdentifierNotFound; // [MQTT-4.3.3-11] asks for a PUBCOMP all the same
		connection.sendOnCommit({ type: "pubcomp", packetId, reasonCode: code, properties: {} });
	}
}
