/** A member of a consumer group, and the memory that all members of all groups together may take. */
import type { Deadline } from "./deadline.ts";
import { type JoinAnswer, type JoinRequest, NO_BYTES, type Protocol, type SyncAnswer } from "./messages.ts";

/** What the engine needs for a member and for a protocol, beside their texts and bytes. */
const MEMBER_BYTES = 1024;
const PROTOCOL_BYTES = 160;

/** Bytes that members may take in memory. A peer may send megabytes as what only the leader understands. */
export class MemberBudget {
	readonly maxBytes: number;
	bytes = 0;

	constructor(maxBytes: number) {
		this.maxBytes = maxBytes;
	}

	hasRoom(more: number): boolean {
		return this.bytes + more <= this.maxBytes;
	}
}

export interface Member {
	readonly id: string;
	/** null: a dynamic member. */
	readonly instanceId: string | null;
	clientId: string;
	clientHost: string;
	sessionTimeoutMs: number;
	rebalanceTimeoutMs: number;
	readonly protocolType: string;
	/** Each name once; own copies. */
	protocols: readonly Protocol[];
	assignment: Buffer;
	/** Has not been in any generation. */
	isNew: boolean;
	/** Set while a JoinGroup waits for its answer. */
	joining: ((answer: JoinAnswer) => void) | undefined;
	/** Set while a SyncGroup waits for its answer. */
	syncing: ((answer: SyncAnswer) => void) | undefined;
	/** When it is taken for gone. */
	readonly session: Deadline;
}

export function newMember(id: string, request: JoinRequest, session: Deadline): Member {
	return {
		id,
		instanceId: request.instanceId,
		clientId: request.clientId,
		clientHost: request.clientHost,
		sessionTimeoutMs: request.sessionTimeoutMs,
		rebalanceTimeoutMs: request.rebalanceTimeoutMs,
		protocolType: request.protocolType,
		protocols: ownProtocols(request.protocols),
		assignment: NO_BYTES,
		isNew: true,
		joining: undefined,
		syncing: undefined,
		session,
	};
}

/** Copies, each name once. */
export function ownProtocols(protocols: readonly Protocol[]): readonly Protocol[] {
	const names = new Set<string>();
	const own: Protocol[] = [];
	for (const { name, metadata } of protocols) {
		if (names.has(name)) continue;
		names.add(name);
		own.push({ name, metadata: copyOf(metadata) });
	}
	return own;
}

/** Not from the shared pool, of which a small copy would keep a slab. */
export function copyOf(bytes: Buffer): Buffer {
	const copy = Buffer.allocUnsafeSlow(bytes.length);
	bytes.copy(copy);
	return copy;
}

/** Roughly what a member with these takes, without its assignment. */
export function memberBytes(id: string, protocols: readonly Protocol[]): number {
	// The id, the client id that is in it, and where else they stand.
	let bytes = MEMBER_BYTES + 6 * id.length;
	for (const { name, metadata } of protocols) bytes += PROTOCOL_BYTES + 2 * name.length + metadata.length;
	return bytes;
}

export function sameProtocols(a: readonly Protocol[], b: readonly Protocol[]): boolean {
	return (
		a.length === b.length &&
		a.every(({ name, metadata }, i) => {
			const other = b[i] as Protocol;
			return name === other.name && metadata.equals(other.metadata);
		})
	);
}

export function metadataOf(member: Member, protocolName: string | undefined): Buffer {
	return member.protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_BYTES;
}
