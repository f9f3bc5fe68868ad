/** One new subscription, and how long until the retained messages that match it have come: the first, and all. */
import { Subscriber } from "./subscriber.ts";

export interface CollectSpec {
	readonly kind: "collect";
	readonly port: number;
	readonly filter: string;
	/** Retained messages that match it. */
	readonly events: number;
	/** Of the sequence numbers in them. */
	readonly sequenceSum: number;
	readonly qos: 0 | 1;
}

export interface CollectResult {
	/** From SUBSCRIBE written. */
	readonly firstMs: number;
	readonly allMs: number;
}

const STALLED_MS = 20_000;

export async function runCollect(
	spec: CollectSpec,
	mark: (name: "begin" | "end") => void,
	failed: (error: Error) => void,
): Promise<CollectResult> {
	const { port, filter, events, qos } = spec;
	let started = 0;
	let firstMs: number | undefined;
	const done = Promise.withResolvers<number>();
	let progressed = performance.now();
	const subscriber: Subscriber = await Subscriber.open({
		port,
		number: 0,
		clientId: `collect-${process.pid}`,
		onRead: () => {
			const now = performance.now();
			if (subscriber.events === 0) return;
			progressed = now;
			firstMs ??= now - started;
			if (subscriber.events >= events) done.resolve(now - started);
		},
		failed,
	});
	const watch = setInterval(() => {
		if (performance.now() - progressed > STALLED_MS) {
			done.reject(new Error(`${subscriber.events} of ${events} retained messages came for ${filter}`));
		}
	}, 500);
	mark("begin");
	started = performance.now();
	subscriber.subscribe([filter], qos).catch(failed);
	const allMs = await done.promise;
	mark("end");
	clearInterval(watch);
	if (subscriber.events !== events || subscriber.sequenceSum !== spec.sequenceSum) {
		throw new Error(`${filter}: ${subscriber.events} messages came, ${events} were expected, or others than expected`);
	}
	await subscriber.leave();
	return { firstMs: firstMs ?? allMs, allMs };
}
