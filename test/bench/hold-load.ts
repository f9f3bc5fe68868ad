/**
 * Connections that publish nothing: they connect, say so, subscribe when they are told to, and stay until the process is
 * killed, or leave their persistent sessions behind.
 */
import net from "node:net";
import { openMany } from "./client-socket.ts";
import { Subscriber } from "./subscriber.ts";

export interface HoldSpec {
	readonly kind: "hold";
	readonly port: number;
	readonly connections: number;
	/** In client identifiers. */
	readonly name: string;
	/** `socket`: nothing is sent, for a server that is no broker. */
	readonly client: "socket" | "clean" | "persistent";
	/** Of all connections together; `filters.ts` makes them. */
	readonly subscriptions: { readonly shape: "own" | "all" | "mixed"; readonly count: number };
	readonly qos: 0 | 1;
	/** DISCONNECT when all is subscribed. */
	readonly leave: boolean;
}

export interface HoldResult {
	readonly connections: number;
}

/** Topics of mixed shapes with wildcards; none matches what load.ts publishes, all make a broker look. */
export function mixedFilter(i: number): string {
	const n = i.toString(36);
	switch (i % 6) {
		case 0:
			return `sensors/+/dev${n}x/telemetry`;
		case 1:
			return `sensors/site${i % 7}/dev${n}x/#`;
		case 2:
			return `+/site${i % 7}/+/state-${n}`;
		case 3:
			return `sensors/+/+/alarm-${n}/#`;
		case 4:
			return `fleet-${n}/#`;
		default:
			return `sensors/site${n}x/+/telemetry`;
	}
}

/** Of the connection `number`. */
export function filtersOf({ connections, subscriptions }: HoldSpec, number: number): string[] {
	if (subscriptions.shape === "own") return [`devices/d${number}/commands`];
	if (subscriptions.shape === "all") return ["backlog/#"];
	const from = Math.floor((subscriptions.count * number) / connections);
	const to = Math.floor((subscriptions.count * (number + 1)) / connections);
	return Array.from({ length: to - from }, (_, i) => mixedFilter(from + i));
}

export async function runHold(
	spec: HoldSpec,
	mark: (name: "connected" | "subscribed") => void,
	told: Promise<void>,
	failed: (error: Error) => void,
): Promise<HoldResult> {
	const { port, connections, client } = spec;
	const stay = new Promise<HoldResult>(() => undefined);
	if (client === "socket") {
		await openMany(connections, (number) => openSocket(port, number, failed));
		mark("connected");
		return stay;
	}
	const subscribers = await openMany(connections, (number) =>
		Subscriber.open({ port, number, clientId: `${spec.name}-${number}`, clean: client === "clean", failed }),
	);
	mark("connected");
	await told;
	await openMany(connections, (i) => (subscribers[i] as Subscriber).subscribe(filtersOf(spec, i), spec.qos));
	mark("subscribed");
	if (!spec.leave) return stay;
	await Promise.all(subscribers.map((subscriber) => subscriber.leave()));
	return { connections };
}

function openSocket(port: number, number: number, failed: (error: Error) => void): Promise<net.Socket> {
	return new Promise((resolve) => {
		const localAddress = `127.0.0.${1 + Math.floor(number / 4000)}`;
		const socket = net.connect({ port, host: "127.0.0.1", localAddress }, () => resolve(socket));
		socket.on("error", failed);
	});
}
