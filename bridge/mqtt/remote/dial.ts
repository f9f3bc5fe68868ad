/**
 * A socket to another broker, over TCP or TLS. node:tls is loaded with the first bridge that needs it. Certificates and keys
 * are read at every try, so that renewed ones need no restart. What goes wrong is told in words that say what to change.
 */
import { connect, type Socket } from "node:net";
import type { Disk } from "../../../src/base/disk.ts";
import { readSmallFile } from "../../../src/base/small-file.ts";
import type { BridgeConfig } from "../../../src/config/definition.ts";
import { OUTPUT_HIGH_BYTES } from "../transport.ts";

export class DialError extends Error {
	override readonly name = "DialError";
	/** Trying again soon will not help: a person has to change something. */
	readonly lasting: boolean;

	constructor(message: string, lasting = false) {
		super(message);
		this.lasting = lasting;
	}
}

/** `done` is called once, with the connected socket or what went wrong; not at all after the returned function was called. */
export function dial(config: BridgeConfig, disk: Disk, done: (result: Socket | DialError) => void): () => void {
	let over = false;
	let socket: Socket | undefined;
	const finish = (result: Socket | DialError): void => {
		if (over) return;
		over = true;
		done(result);
	};
	const opened = (made: Socket, event: "connect" | "secureConnect"): void => {
		socket = made;
		if (over) {
			made.destroy();
			return;
		}
		const failed = (error: NodeJS.ErrnoException): void => {
			made.destroy();
			finish(explain(error, config));
		};
		made.once("error", failed);
		made.once("close", () => finish(new DialError("the other broker closed the connection before it was up")));
		made.once(event, () => {
			made.off("error", failed);
			finish(made);
		});
	};
	const { host, port } = config.address;
	if (config.tls === undefined) {
		// SocketTransport tells by this mark when output has drained.
		opened(connect({ host, port, noDelay: true, ...SOCKET_OPTIONS }), "connect");
	} else {
		dialTls(config, config.tls, disk).then(
			(made) => opened(made, "secureConnect"),
			(error: Error) => finish(error instanceof DialError ? error : new DialError(error.message, true)),
		);
	}
	return () => {
		over = true;
		socket?.destroy();
	};
}

const SOCKET_OPTIONS = { highWaterMark: OUTPUT_HIGH_BYTES };

async function dialTls(config: BridgeConfig, tls: NonNullable<BridgeConfig["tls"]>, disk: Disk): Promise<Socket> {
	const { host, port } = config.address;
	const options = {
		ca: tls.ca === undefined ? undefined : readNamedFile(disk, tls.ca, "tls.ca"),
		cert: tls.certificate === undefined ? undefined : readNamedFile(disk, tls.certificate, "tls.certificate"),
		key: tls.key === undefined ? undefined : readNamedFile(disk, tls.key, "tls.key"),
		servername: tls.serverName ?? (isIpAddress(host) ? "" : host),
		rejectUnauthorized: !tls.insecure,
	};
	const node = await import("node:tls");
	const socket = node.connect({ host, port, ...SOCKET_OPTIONS, ...options });
	socket.setNoDelay(true);
	return socket;
}

function isIpAddress(host: string): boolean {
	return host.includes(":") || /^[\d.]+$/.test(host);
}

/** Throws DialError that names the key. */
export function readNamedFile(disk: Disk, file: string, key: string): Buffer {
	try {
		return readSmallFile(disk, file);
	} catch (error) {
		throw new DialError(`${key}: ${file} cannot be read: ${(error as Error).message}`, true);
	}
}

function explain(error: NodeJS.ErrnoException, { address: { host, port } }: BridgeConfig): DialError {
	const where = `${host}:${port}`;
	switch (error.code) {
		case "ECONNREFUSED":
			return new DialError(`nothing listens at ${where}`);
		case "ENOTFOUND":
		case "EAI_AGAIN":
			return new DialError(`the name ${host} is not known to DNS`);
		case "ETIMEDOUT":
		case "EHOSTUNREACH":
		case "ENETUNREACH":
			return new DialError(`${where} cannot be reached (${error.code})`);
		case "DEPTH_ZERO_SELF_SIGNED_CERT":
		case "SELF_SIGNED_CERT_IN_CHAIN":
		case "UNABLE_TO_GET_ISSUER_CERT":
		case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
		case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
			return new DialError(
				`the certificate of ${where} comes from an authority that is not known here (${error.code}): name its file in tls.ca`,
				true,
			);
		case "ERR_TLS_CERT_ALTNAME_INVALID":
			return new DialError(
				`the certificate of ${where} is for another name (${error.message}): connect by that name, or say it in tls.server.name`,
				true,
			);
		case "CERT_HAS_EXPIRED":
			return new DialError(`the certificate of ${where} has expired`, true);
		default:
			return new DialError(`${where}: ${error.message}${error.code === undefined ? "" : ` (${error.code})`}`);
	}
}
