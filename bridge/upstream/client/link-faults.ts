/** What Node's and OpenSSL's errors mean to whoever set up the link to the central cluster, and what to do about each. */
import type { Address } from "../../../src/config/definition.ts";
import { LinkError, type LinkErrorOptions } from "./link-error.ts";

/** `host:port`, for people. */
export function place({ host, port }: Address): string {
	return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether an error of a socket is TLS's, not the network's. */
export function isTlsFault(error: NodeJS.ErrnoException): boolean {
	return /^(ERR_SSL_|ERR_TLS_|ERR_OSSL_)/.test(error.code ?? "");
}

/**
 * An answer of `bytes` bytes, by what it says of itself: where it is the first one, the four bytes were more likely the
 * beginning of something else.
 */
export function explainFrame(bytes: number, maxBytes: number, where: string, isFirst: boolean): LinkError {
	const head = Buffer.alloc(4);
	head.writeUInt32BE(bytes);
	if (isFirst && (head[0] === 0x15 || head[0] === 0x16) && head[1] === 3) {
		return new LinkError("malformed", `${where} speaks TLS, and this gateway does not`, {
			lasting: true,
			action: "set upstream.security.protocol to SSL or SASL_SSL, or give the port of the broker's plain listener",
		});
	}
	if (isFirst && /^(HTTP|MQTT|SSH-|220 )$/.test(head.toString("latin1"))) {
		return new LinkError("malformed", `${where} is no Kafka broker: it answers with "${head.toString("latin1")}"`, {
			lasting: true,
			action: "correct upstream.bootstrap.servers",
		});
	}
	return new LinkError("malformed", `${where} sends an answer of ${bytes} bytes, where 1 to ${maxBytes} are taken`, {
		lasting: isFirst,
	});
}

/** No connection came to be. */
export function explainUnreachable(error: NodeJS.ErrnoException, where: string): LinkError {
	const host = where.replace(/:\d+$/, "");
	const refuse = (message: string, action?: string): LinkError =>
		new LinkError("unreachable", message, { action, cause: error });
	switch (error.code) {
		case "ECONNREFUSED":
			return refuse(`nothing listens at ${where}`, "start the broker there, or correct upstream.bootstrap.servers");
		case "ENOTFOUND":
			return refuse(
				`the name ${host} is not known to DNS`,
				"correct upstream.bootstrap.servers, or the broker's advertised.listeners, or the name server",
			);
		case "EAI_AGAIN":
			return refuse(`the name server does not answer for ${host}`);
		case "ETIMEDOUT":
		case "EHOSTUNREACH":
		case "ENETUNREACH":
		case "ENETDOWN":
			return refuse(`${where} cannot be reached (${error.code})`);
		default:
			return refuse(`${where}: ${error.message || "no connection"}${codeOf(error)}`);
	}
}

/** Certificates, keys and versions that do not fit together; a connection that broke before TLS was up. */
export function explainTls(
	error: NodeJS.ErrnoException,
	where: string,
	wireBytes?: LinkErrorOptions["wireBytes"],
): LinkError {
	const refuse = (message: string, action?: string, lasting = true): LinkError =>
		new LinkError("tls", message, { action, lasting, cause: error, ...(wireBytes && { wireBytes }) });
	const code = error.code ?? "";
	switch (code) {
		case "DEPTH_ZERO_SELF_SIGNED_CERT":
		case "SELF_SIGNED_CERT_IN_CHAIN":
		case "UNABLE_TO_GET_ISSUER_CERT":
		case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
		case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
			return refuse(
				`the certificate of ${where} comes from an authority that is not known here (${code})`,
				"name the file with the authority's certificate in upstream.tls.ca",
			);
		case "ERR_TLS_CERT_ALTNAME_INVALID":
			return refuse(
				`the certificate of ${where} is for another name: it has ${namesIn(error)}`,
				"connect by a name that is in it, or say that name in upstream.tls.server.name",
			);
		case "CERT_HAS_EXPIRED":
			return refuse(`the certificate of ${where} has expired`, "renew it, or set this machine's clock right");
		case "CERT_NOT_YET_VALID":
			return refuse(`the certificate of ${where} is not valid yet`, "set this machine's clock right");
		case "ERR_OSSL_X509_KEY_VALUES_MISMATCH":
			return refuse(
				"upstream.tls.key is not the key of upstream.tls.certificate",
				"give a certificate and the key that belongs to it",
			);
		case "ERR_SSL_WRONG_VERSION_NUMBER":
		case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
			return refuse(
				`${where} does not speak TLS`,
				"give the port of the broker's TLS listener, or set upstream.security.protocol to PLAINTEXT or SASL_PLAINTEXT",
			);
		case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
		case "ERR_SSL_UNSUPPORTED_PROTOCOL":
			return refuse(`${where} speaks no TLS of version 1.2 or later`, "let the broker speak TLS 1.2 or 1.3");
	}
	if (code.startsWith("ERR_OSSL_")) {
		return refuse(
			`upstream.tls.ca, upstream.tls.certificate or upstream.tls.key cannot be used (${code})`,
			"give them in PEM; a key must not be encrypted by a passphrase",
		);
	}
	if (
		/ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|ACCESS_DENIED|HANDSHAKE_FAILURE|NO_CERTIFICATE|UNSUPPORTED_CERTIFICATE)/.test(
			code,
		)
	) {
		return refuse(
			`${where} does not accept the certificate that this gateway shows, or that it shows none (${code})`,
			"set upstream.tls.certificate and upstream.tls.key to what the broker's ssl.truststore knows",
		);
	}
	// A link that broke in the middle looks the same as a broker that does not speak TLS: that passes, or it does not.
	const broke = code === "" || code === "ECONNRESET" || code === "EPIPE" || code === "ETIMEDOUT";
	if (broke) {
		return refuse(
			`${where} closed the connection before TLS was up`,
			"if it stays so: give the port of the broker's TLS listener",
			false,
		);
	}
	return refuse(`TLS with ${where} fails: ${error.message.trim()} (${code})`, undefined, false);
}

function codeOf(error: NodeJS.ErrnoException): string {
	return error.code === undefined || error.message.includes(error.code) ? "" : ` (${error.code})`;
}

/** Of the certificate that the error is about: what Node itself says of it has the names of one kind only. */
function namesIn(error: NodeJS.ErrnoException): string {
	const { cert } = error as {
		readonly cert?: { readonly subjectaltname?: string; readonly subject?: { CN?: string } };
	};
	const names = cert?.subjectaltname?.replaceAll("IP Address:", "IP:");
	return names ?? (cert?.subject?.CN === undefined ? "none" : `CN=${cert.subject.CN}`);
}
