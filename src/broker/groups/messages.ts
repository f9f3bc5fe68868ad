/** What members ask of their group's coordinator, and what it answers. Bytes of requests are views: the coordinator copies what it keeps. */
import type { ErrorCode } from "../../base/errors.ts";

/** A way to divide partitions that a member knows. */
export interface Protocol {
	readonly name: string;
	/** For the leader; opaque to the coordinator but for the topics in a consumer's. */
	readonly metadata: Buffer;
}

export interface JoinRequest {
	readonly group: string;
	/** "": none yet. */
	readonly memberId: string;
	/** Of a static member. */
	readonly instanceId: string | null;
	readonly clientId: string;
	/** `/127.0.0.1`. */
	readonly clientHost: string;
	readonly sessionTimeoutMs: number;
	readonly rebalanceTimeoutMs: number;
	readonly protocolType: string;
	/** The one liked best first. */
	readonly protocols: readonly Protocol[];
	/** A dynamic member without an id is given one and has to come again with it (JoinGroup 4). */
	readonly requiresMemberId: boolean;
	/** The member knows `skipAssignment` (JoinGroup 9). */
	readonly canSkipAssignment: boolean;
}

export interface JoinedMember {
	readonly memberId: string;
	readonly instanceId: string | null;
	readonly metadata: Buffer;
}

export interface JoinAnswer {
	readonly error: ErrorCode | undefined;
	readonly memberId: string;
	readonly generation: number;
	readonly protocolType: string | null;
	readonly protocolName: string | null;
	readonly leader: string;
	/** For the leader only. */
	readonly members: readonly JoinedMember[];
	/** The leader need not divide anything. */
	readonly skipAssignment: boolean;
}

/** Who says to be a member of which generation. */
export interface MemberClaim {
	readonly group: string;
	/** Negative: of none. */
	readonly generation: number;
	/** "": none. */
	readonly memberId: string;
	readonly instanceId: string | null;
}

export interface SyncRequest extends MemberClaim {
	/** null: not told, nor checked. */
	readonly protocolType: string | null;
	readonly protocolName: string | null;
	/** By member id; the leader's count. */
	readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[];
}

export interface SyncAnswer {
	readonly error: ErrorCode | undefined;
	readonly protocolType: string | null;
	readonly protocolName: string | null;
	readonly assignment: Buffer;
}

export interface LeavingMember {
	readonly memberId: string;
	readonly instanceId: string | null;
}

export const NO_BYTES = Buffer.alloc(0);

export function refusedJoin(memberId: string, error: ErrorCode): JoinAnswer {
	return {
		error,
		memberId,
		generation: -1,
		protocolType: null,
		protocolName: null,
		leader: "",
		members: [],
		skipAssignment: false,
	};
}

export function refusedSync(error: ErrorCode): SyncAnswer {
	return { error, protocolType: null, protocolName: null, assignment: NO_BYTES };
}
