/** What the handlers of the Kafka door work with. */
import type { Broker } from "../broker/broker.ts";
import type { KafkaOptions } from "./options.ts";

export interface Services {
	readonly broker: Broker;
	readonly options: KafkaOptions;
	/** Stable for the life of the data directory. */
	readonly clusterId: string;
	/** Where clients are told to connect to. */
	readonly advertised: { readonly host: string; readonly port: number };
}

/** The other end of a connection. */
export interface Peer {
	/** Address, without the port. */
	readonly host: string;
	/** Kafka's form of who it is: `User:ANONYMOUS`. */
	readonly principal: string;
	readonly closed: boolean;
	/** `listener` is called once, when the connection has gone; the returned function takes it back. */
	onClose(listener: () => void): () => void;
}
