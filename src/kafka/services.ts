/** What the handlers of the Kafka door work with. */
import type { BufferPool } from "../base/buffer-pool.ts";
import type { InputRoom } from "../base/input-room.ts";
import type { Broker } from "../broker/broker.ts";
import type { KafkaOptions } from "./options.ts";

export interface Services {
	readonly broker: Broker;
	readonly options: KafkaOptions;
	/** Memory for what is read from the log and sent. */
	readonly buffers: BufferPool;
	/** For large answers of all connections, until they are sent. */
	readonly outputRoom: InputRoom;
	/** For what answers have from the object store, from when it is asked for until they are sent. */
	readonly tierRoom: InputRoom;
	/** Requests that have read from there: each begins with another partition, lest the first ones take all turns. */
	readonly tierTurns: { count: number };
	/** Partitions that all waiting requests together wait for. */
	readonly polled: { partitions: number };
	/** Stable for the life of the data directory. */
	readonly clusterId: string;
	/** Where clients are told to connect to; an empty host: to the address here that each has connected to. */
	readonly advertised: { readonly host: string; readonly port: number };
}

/** The other end of a connection. */
export interface Peer {
	/** Address, without the port. */
	readonly host: string;
	/** The address here that it has connected to. */
	readonly localHost: string;
	/** Kafka's form of who it is: `User:ANONYMOUS`. */
	readonly principal: string;
	readonly closed: boolean;
	/** `listener` is called once, when the connection has gone; the returned function takes it back. */
	onClose(listener: () => void): () => void;
}
