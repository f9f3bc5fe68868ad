/** Login by SASL: which messages to send, and what the answers mean. How they travel is the connection's. */
import type { Random } from "../../../src/base/random.ts";
import { LinkError } from "./link-error.ts";
import { Scram } from "./scram.ts";

export interface SaslOptions {
	readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
	readonly username: string;
	/** Read anew at each login, so that a changed one needs no restart; may throw. */
	readonly password: () => string;
}

const NONCE_BYTES = 24;

/** Sends one message and resolves with the broker's. */
type Exchange = (message: Buffer) => Promise<Buffer>;

/** Resolves when both sides are content. Rejects with LinkError. */
export async function authenticate(sasl: SaslOptions, random: Random, exchange: Exchange): Promise<void> {
	const { mechanism, username } = sasl;
	const password = passwordOf(sasl);
	if (mechanism === "PLAIN") {
		// RFC 4616: it is what divides the parts.
		if (username.includes("\0") || password.includes("\0")) {
			throw new LinkError("login", "a zero byte in the name or the password cannot be said with SASL PLAIN", {
				lasting: true,
				action: "use SCRAM-SHA-512, or a name and a password without it",
			});
		}
		await exchange(Buffer.from(`\0${username}\0${password}`));
		return;
	}
	const scram = new Scram(mechanism, username, password, random.bytes(NONCE_BYTES).toString("base64"));
	scram.verify(await exchange(await scram.final(await exchange(scram.first()))));
}

function passwordOf({ password }: SaslOptions): string {
	try {
		return password();
	} catch (error) {
		throw new LinkError("login", `the password cannot be read: ${(error as Error).message}`, {
			lasting: true,
			action: "check upstream.sasl.secret.file",
			cause: error,
		});
	}
}
