/** What goes wrong between the gateway and the cluster, and in the cluster: each a probability, of each request where nothing else is said. */

type Span = readonly [leastMs: number, mostMs: number];

export interface NetworkFaults {
	/** One way. */
	readonly latencyMs: Span;
	/** A connection without requests for so long is closed by its broker. */
	readonly idleMs: number;
	/** Of each dial: it fails at once. */
	readonly refused: number;
	/** Of each dial: nobody ever answers. */
	readonly unanswered: number;
	/** The request does not arrive, and the connection is reset. */
	readonly reset: number;
	/** The request does not arrive, nor does anything else on its connection, and nobody is told. */
	readonly silence: number;
	/** The request arrives, its answer does not: the connection is reset, or falls silent. */
	readonly answerLost: number;
	/** The request arrives after `lateMs`, when the client has long given up; nothing else passes on its connection any more. */
	readonly late: number;
	readonly lateMs: Span;
	/** Answers come in pieces. */
	readonly pieces: number;
	readonly throttled: number;
	readonly throttleMs: Span;
	/** Refused though nothing is wrong with it: again later. */
	readonly busy: number;
	/** Of each produced batch: it is stored, and the answer is an error all the same. */
	readonly errorAfterAppend: number;
	readonly markerMs: Span;
	/** Of each marker: it takes `slowMarkerMs`. */
	readonly slowMarker: number;
	readonly slowMarkerMs: Span;
	/** Of each abort for a time-out: its partitions never hear of it. */
	readonly forgottenAbort: number;
	/** The broker crashes with the request unread. */
	readonly crash: number;
	readonly downMs: Span;
	readonly leaderMove: number;
	/** How long brokers tell of the leader before. */
	readonly staleMs: Span;
	/** How long brokers know nothing of a topic that a client has created. */
	readonly unknownMs: Span;
	readonly coordinatorMove: number;
	readonly loadMs: Span;
}

/** Nothing goes wrong; but nothing happens at once either. */
export const CALM: NetworkFaults = {
	latencyMs: [1, 5],
	idleMs: 600_000,
	refused: 0,
	unanswered: 0,
	reset: 0,
	silence: 0,
	answerLost: 0,
	late: 0,
	lateMs: [1000, 40_000],
	pieces: 0,
	throttled: 0,
	throttleMs: [10, 5000],
	busy: 0,
	errorAfterAppend: 0,
	markerMs: [0, 5],
	slowMarker: 0,
	slowMarkerMs: [100, 5000],
	forgottenAbort: 0,
	crash: 0,
	downMs: [100, 30_000],
	leaderMove: 0,
	staleMs: [0, 3000],
	unknownMs: [0, 0],
	coordinatorMove: 0,
	loadMs: [0, 2000],
};

/** Everything goes wrong now and then. */
export const ROUGH: NetworkFaults = {
	...CALM,
	latencyMs: [1, 300],
	refused: 0.1,
	unanswered: 0.03,
	reset: 0.02,
	silence: 0.01,
	answerLost: 0.03,
	late: 0.01,
	pieces: 0.2,
	throttled: 0.02,
	busy: 0.03,
	errorAfterAppend: 0.02,
	slowMarker: 0.1,
	crash: 0.003,
	leaderMove: 0.01,
	unknownMs: [0, 2000],
	coordinatorMove: 0.01,
};
