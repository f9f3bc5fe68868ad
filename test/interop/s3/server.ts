/** A real S3 server for a test: kit/s3's scripts start it on a free port, over a folder that outlives it. */
import fs from "node:fs";
import path from "node:path";
import { Client } from "minio";
import type { ObjectStoreOptions } from "../../../tiering/object-store.ts";
import { run, temporaryFolder } from "../../support/gateway.ts";
import { s3Options } from "../../support/s3-options.ts";
import type { S3Server } from "../runtimes.ts";

const kit = path.resolve(import.meta.dirname, "../kit/s3");

export const ACCESS_KEY = "interop";
export const SECRET_KEY = "interop-secret";

export class RealS3 {
	readonly kind: S3Server;
	readonly folder: string;
	/** The same over a restart. */
	endpoint = "";

	constructor(kind: S3Server) {
		this.kind = kind;
		this.folder = temporaryFolder(`s3-${kind}`);
	}

	async start(): Promise<void> {
		const said = await this.#kit("s3-up", "--server", this.kind, "--dir", this.folder);
		this.endpoint = /S3_ENDPOINT=(\S+)/.exec(said)?.[1] as string;
	}

	async makeBucket(name: string): Promise<void> {
		const { hostname, port } = new URL(this.endpoint);
		const keys = { accessKey: ACCESS_KEY, secretKey: SECRET_KEY };
		await new Client({ endPoint: hostname, port: Number(port), useSSL: false, ...keys }).makeBucket(name);
	}

	/** kill -9. */
	async kill(): Promise<void> {
		await this.#kit("s3-down", "--kill9", "--dir", this.folder);
	}

	async remove(): Promise<void> {
		await this.kill();
		fs.rmSync(this.folder, { recursive: true, force: true });
	}

	options(given: Partial<ObjectStoreOptions> = {}): ObjectStoreOptions {
		return s3Options({ endpoint: this.endpoint, accessKey: ACCESS_KEY, secretKey: SECRET_KEY, ...given });
	}

	async #kit(program: string, ...parameters: string[]): Promise<string> {
		const { code, stdout, stderr } = await run(path.join(kit, program), parameters);
		if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}${stdout}`);
		return stdout;
	}
}
