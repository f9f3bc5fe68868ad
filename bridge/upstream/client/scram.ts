/**
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), without channel binding, as Kafka speaks it.
 * The broker proves that it knows the password too. Throws LinkError.
 */
import { LinkError } from "./link-error.ts";

type ScramMechanism = "SCRAM-SHA-256" | "SCRAM-SHA-512";

/** RFC 7677 section 4, and Kafka's own lower limit: with less the password is guessed from what was overheard. */
const ITERATIONS_MIN = 4096;
/** Kafka stores at most 16,384; a broker that wants more than this wants the processor. */
const ITERATIONS_MAX = 1_000_000;
/** Of a message of the broker's. */
const MESSAGE_BYTES_MAX = 8192;
/** No channel binding: base64 of "n,,". */
const CHANNEL = "c=biws";

export class Scram {
	readonly #hash: "sha256" | "sha512";
	readonly #password: Buffer;
	readonly #nonce: string;
	readonly #firstBare: string;
	#serverSignature: Buffer | undefined;

	/**
	 * `nonce`: printable ASCII without a comma, never used before. Name and password go as they are, in UTF-8: Kafka does not
	 * normalise them either (RFC 5802 asks for SASLprep), and both sides have to do the same.
	 */
	constructor(mechanism: ScramMechanism, username: string, password: string, nonce: string) {
		this.#hash = mechanism === "SCRAM-SHA-256" ? "sha256" : "sha512";
		this.#password = Buffer.from(password);
		this.#nonce = nonce;
		this.#firstBare = `n=${username.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
	}

	/** The client's first message. */
	first(): Buffer {
		return Buffer.from(`n,,${this.#firstBare}`);
	}

	/** The client's second and last message: the proof. */
	async final(serverFirst: Buffer): Promise<Buffer> {
		const first = textOf(serverFirst);
		const { nonce, salt, iterations } = parseFirst(first, this.#nonce);
		// Loaded here and not by whoever never needs it: it takes memory for good.
		const { createHash, createHmac, pbkdf2 } = await import("node:crypto");
		const hmac = (key: Buffer, text: string): Buffer => createHmac(this.#hash, key).update(text).digest();
		const keyBytes = this.#hash === "sha256" ? 32 : 64;
		const salted = await new Promise<Buffer>((resolve, reject) =>
			pbkdf2(this.#password, salt, iterations, keyBytes, this.#hash, (error, key) =>
				error ? reject(error) : resolve(key),
			),
		);
		const clientKey = hmac(salted, "Client Key");
		const storedKey = createHash(this.#hash).update(clientKey).digest();
		const finalBare = `${CHANNEL},r=${nonce}`;
		const exchange = `${this.#firstBare},${first},${finalBare}`;
		const proof = hmac(storedKey, exchange);
		for (let i = 0; i < proof.length; i++) (proof[i] as number) ^= clientKey[i] as number;
		this.#serverSignature = hmac(hmac(salted, "Server Key"), exchange);
		return Buffer.from(`${finalBare},p=${proof.toString("base64")}`);
	}

	/** Whether the broker knows the password. */
	verify(serverFinal: Buffer): void {
		const text = textOf(serverFinal);
		const error = /^e=([^,]+)/.exec(text);
		if (error !== null) throw refused(`the broker refuses the login: ${error[1]}`);
		const signature = /^v=([A-Za-z0-9+/]+={0,2})(,|$)/.exec(text);
		if (signature === null) throw strange("its last message has no signature");
		if (
			this.#serverSignature === undefined ||
			!this.#serverSignature.equals(Buffer.from(signature[1] as string, "base64"))
		)
			throw new LinkError("login", "the broker does not prove that it knows the password: it may be somebody else's", {
				lasting: true,
				action: "check that upstream.bootstrap.servers and upstream.tls.* lead to your cluster",
			});
	}
}

function parseFirst(text: string, clientNonce: string): { nonce: string; salt: Buffer; iterations: number } {
	if (text.startsWith("e=")) throw refused(`the broker refuses the login: ${text.slice(2).split(",")[0]}`);
	if (text.startsWith("m="))
		throw strange("it calls for an extension that is not known here (RFC 5802 section 5.1, m=)");
	const parts = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,9})(,|$)/.exec(text);
	if (parts === null) throw strange("its first message is not r=..., s=..., i=...");
	const [, nonce, salt, count] = parts as unknown as [string, string, string, string];
	if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length)
		throw strange("its nonce does not go on from the client's");
	const iterations = Number(count);
	if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
		throw strange(`${iterations} iterations, where ${ITERATIONS_MIN} to ${ITERATIONS_MAX} are taken`);
	return { nonce, salt: Buffer.from(salt, "base64"), iterations };
}

function textOf(message: Buffer): string {
	if (message.length > MESSAGE_BYTES_MAX) throw strange(`a message of ${message.length} bytes`);
	return message.toString("utf8");
}

function strange(what: string): LinkError {
	return new LinkError("login", `the broker does not speak SCRAM as it should: ${what}`, { lasting: true });
}

function refused(message: string): LinkError {
	return new LinkError("login", message, {
		lasting: true,
		action: "check upstream.sasl.username and the password, and that the user has SCRAM credentials in the cluster",
	});
}
