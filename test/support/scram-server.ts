/** The broker's side of SCRAM (RFC 5802), written on its own: what the client computes is compared with it. */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

export interface ScramServerOptions {
	readonly hash: "sha256" | "sha512";
	readonly password: string;
	readonly iterations?: number;
	readonly salt?: Buffer;
	/** Appended to the client's nonce. */
	readonly nonce?: string;
}

export class ScramServer {
	readonly #options: ScramServerOptions;
	/** As the client wrote it. */
	username = "";
	#exchange = "";

	constructor(options: ScramServerOptions) {
		this.#options = options;
	}

	first(clientFirst: Buffer): Buffer {
		const { salt = Buffer.from("a salt of some bytes"), iterations = 4096, nonce = "server-nonce" } = this.#options;
		const bare = clientFirst.toString().replace(/^n,,/, "");
		const [, name, clientNonce] = /^n=([^,]*),r=([^,]+)$/.exec(bare) as unknown as string[];
		this.username = name as string;
		const answer = `r=${clientNonce}${nonce},s=${salt.toString("base64")},i=${iterations}`;
		this.#exchange = `${bare},${answer}`;
		return Buffer.from(answer);
	}

	/** The signature where the client's proof is right; undefined where it is not. */
	final(clientFinal: Buffer): Buffer | undefined {
		const { hash, password, salt = Buffer.from("a salt of some bytes"), iterations = 4096 } = this.#options;
		const [, bare, proof] = /^(.*),p=([^,]+)$/.exec(clientFinal.toString()) as unknown as [string, string, string];
		const exchange = `${this.#exchange},${bare}`;
		const salted = pbkdf2Sync(password, salt, iterations, hash === "sha256" ? 32 : 64, hash);
		const hmac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest();
		const storedKey = createHash(hash).update(hmac(salted, "Client Key")).digest();
		const signature = hmac(storedKey, exchange);
		const given = Buffer.from(proof, "base64");
		const clientKey = Buffer.from(signature.map((byte, i) => byte ^ (given[i] as number)));
		if (!createHash(hash).update(clientKey).digest().equals(storedKey)) return undefined;
		return Buffer.from(`v=${hmac(hmac(salted, "Server Key"), exchange).toString("base64")}`);
	}
}
