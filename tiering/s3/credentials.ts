/**
 * The credentials for an S3 service, looked for in the order of AWS's own tools: given in the configuration, the environment,
 * the credentials file, and then what the machine's role gives (a container's or an EC2 instance's credentials service).
 * Those of a role are asked for again shortly before they expire; a file is read again when the store refused what it held.
 */
import { homedir } from "node:os";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { type Disk, joinPath, NodeDisk } from "../../src/base/disk.ts";
import { type ObjectStoreOptions, StoreError } from "../object-store.ts";
import { readText } from "./text-file.ts";

export interface Credentials {
	readonly accessKey: string;
	readonly secretKey: string;
	readonly sessionToken: string | undefined;
	/** Where they were found, for people. */
	readonly source: string;
	/** By the wall clock; undefined: they do not. */
	readonly expiresMs: number | undefined;
}

export interface CredentialsOptions
	extends Pick<ObjectStoreOptions, "accessKey" | "secretKey" | "sessionToken" | "credentialsFile" | "profile"> {
	readonly env?: NodeJS.ProcessEnv;
	readonly disk?: Disk;
	readonly clock?: Clock;
}

/** New ones are asked for so long before the old ones expire. */
const REFRESH_EARLY_MS = 300_000;

export class CredentialChain {
	readonly #options: CredentialsOptions;
	readonly #env: NodeJS.ProcessEnv;
	readonly #disk: Disk;
	readonly #clock: Clock;
	#found: Credentials | undefined;

	constructor(options: CredentialsOptions) {
		this.#options = options;
		this.#env = options.env ?? process.env;
		this.#disk = options.disk ?? new NodeDisk();
		this.#clock = options.clock ?? systemClock;
	}

	/** Rejects with StoreError: `denied` where there are none or half of them, `unreachable` where a role's service fails. */
	async credentials(): Promise<Credentials> {
		const { expiresMs } = this.#found ?? {};
		if (this.#found === undefined || (expiresMs !== undefined && this.#clock.now() > expiresMs - REFRESH_EARLY_MS)) {
			this.#found = this.#configured() ?? this.#fromEnvironment() ?? this.#fromFile() ?? (await this.#fromRole());
		}
		return this.#found;
	}

	/** The store refused them. Whether looking again may find others. */
	forget(refused: Credentials): boolean {
		if (this.#found === refused) this.#found = undefined;
		return this.#configured() === undefined && this.#fromEnvironment() === undefined;
	}

	#configured(): Credentials | undefined {
		const { accessKey, secretKey, sessionToken } = this.#options;
		return pair(accessKey, secretKey, sessionToken, "objectStore.access.key", "objectStore.secret.key");
	}

	#fromEnvironment(): Credentials | undefined {
		const env = this.#env;
		const [id, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
		// Half of it is as good as nothing to AWS's tools too.
		if (!env[id as string] || !env[secret as string]) return undefined;
		return pair(env[id as string], env[secret as string], env.AWS_SESSION_TOKEN, id as string, secret as string);
	}

	#fromFile(): Credentials | undefined {
		const given = this.#options.credentialsFile;
		const file = given ?? (this.#env.AWS_SHARED_CREDENTIALS_FILE || joinPath(homedir(), ".aws", "credentials"));
		const profile = this.#options.profile ?? (this.#env.AWS_PROFILE || "default");
		const text = readText(this.#disk, file);
		if (text === undefined) {
			if (given === undefined) return undefined;
			throw new StoreError("denied", `objectStore.credentials.file: there is no file ${file}`);
		}
		const section = profileOf(text, profile);
		if (section === undefined) {
			if (given === undefined && this.#options.profile === undefined) return undefined;
			throw new StoreError("denied", `${file} has no profile [${profile}]: add it, or correct objectStore.profile`);
		}
		const [id, secret] = [
			`aws_access_key_id of [${profile}] in ${file}`,
			`aws_secret_access_key of [${profile}] in ${file}`,
		];
		const found = pair(
			section.get("aws_access_key_id"),
			section.get("aws_secret_access_key"),
			section.get("aws_session_token"),
			id,
			secret,
		);
		// A profile may hold other settings only.
		return found;
	}

	async #fromRole(): Promise<Credentials> {
		const { roleCredentials } = await import("./role-credentials.ts");
		return roleCredentials(this.#env, this.#disk);
	}
}

/** Both, or none: half of them is a mistake. */
function pair(
	accessKey: string | undefined,
	secretKey: string | undefined,
	sessionToken: string | undefined,
	source: string,
	secretSource: string,
): Credentials | undefined {
	if (!accessKey && !secretKey) return undefined;
	if (!accessKey) throw new StoreError("denied", `${source} is missing, and ${secretSource} is there: both are needed`);
	if (!secretKey) throw new StoreError("denied", `${secretSource} is missing, and ${source} is there: both are needed`);
	return { accessKey, secretKey, sessionToken: sessionToken || undefined, source, expiresMs: undefined };
}

/** The settings of one profile of a credentials file; undefined where there is no such profile. */
function profileOf(text: string, profile: string): ReadonlyMap<string, string> | undefined {
	let settings: Map<string, string> | undefined;
	let inside = false;
	for (const line of text.split(/\r?\n/)) {
		const section = /^\s*\[\s*(?:profile\s+)?([^\]]*?)\s*\]/.exec(line);
		if (section !== null) {
			inside = section[1] === profile;
			if (inside) settings ??= new Map();
			continue;
		}
		const setting = /^\s*([^#;=\s]+)\s*=\s*(.*?)\s*$/.exec(line);
		if (inside && setting !== null) settings?.set((setting[1] as string).toLowerCase(), setting[2] as string);
	}
	return settings;
}
