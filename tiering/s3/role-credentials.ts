/**
 * Credentials that a machine has by its role: from a container's credentials service (ECS, EKS, Greengrass), which the
 * environment names, or from an EC2 instance's metadata (version 2, with a token). Both answer in JSON over plain HTTP.
 * The client library's own provider is not used: it reads the field `AccessKeyID`, which no service of AWS's sends.
 */
import type { Disk } from "../../src/base/disk.ts";
import { StoreError } from "../object-store.ts";
import type { Credentials } from "./credentials.ts";
import { readText } from "./text-file.ts";

/** These services are next to the machine, or not there at all. */
const PATIENCE_MS = 2000;
const CONTAINER_SERVICE = "http://169.254.170.2";
const INSTANCE_METADATA = "http://169.254.169.254";
const TOKEN_SECONDS = "21600";

/** Rejects with StoreError `denied` where this machine has no role, `unreachable` where its service fails. */
export async function roleCredentials(env: NodeJS.ProcessEnv, disk: Disk): Promise<Credentials> {
	const relative = env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI;
	const url = relative ? new URL(relative, CONTAINER_SERVICE).href : env.AWS_CONTAINER_CREDENTIALS_FULL_URI;
	if (url !== undefined && url !== "") {
		const tokenFile = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
		const token = tokenFile ? readText(disk, tokenFile)?.trim() : env.AWS_CONTAINER_AUTHORIZATION_TOKEN;
		return parse(await ask(url, "GET", token ? { authorization: token } : {}), url);
	}
	if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === "true") throw none();
	const service = env.AWS_EC2_METADATA_SERVICE_ENDPOINT || INSTANCE_METADATA;
	const asked = { "x-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS };
	const token = await ask(new URL("/latest/api/token", service).href, "PUT", asked).catch(() => {
		throw none();
	});
	const headers = { "x-aws-ec2-metadata-token": token };
	const roles = new URL("/latest/meta-data/iam/security-credentials/", service).href;
	const role = (await ask(roles, "GET", headers)).split(/\r?\n/)[0]?.trim();
	if (!role) throw none();
	const answer = new URL(encodeURIComponent(role), roles).href;
	return parse(await ask(answer, "GET", headers), answer);
}

function none(): StoreError {
	return new StoreError(
		"denied",
		"there are no credentials: none in objectStore.access.key, AWS_ACCESS_KEY_ID, or a credentials file, and this machine has no role",
	);
}

async function ask(url: string, method: string, headers: Record<string, string>): Promise<string> {
	const { default: http } = await import(url.startsWith("https:") ? "node:https" : "node:http");
	return new Promise((resolve, reject) => {
		const fail = (why: string) => {
			reject(new StoreError("unreachable", `the credentials of this machine's role: ${url}: ${why}`));
		};
		const request = http.request(url, { method, headers, timeout: PATIENCE_MS });
		request.on("error", (error: Error) => fail(error.message));
		request.on("timeout", () => request.destroy(new Error(`no answer for ${PATIENCE_MS} ms`)));
		request.on("response", async (response: AsyncIterable<Buffer> & { statusCode: number }) => {
			try {
				const chunks: Buffer[] = [];
				for await (const chunk of response) chunks.push(chunk);
				if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString("utf8"));
				else fail(`answered ${response.statusCode}`);
			} catch (error) {
				fail((error as Error).message);
			}
		});
		request.end();
	});
}

function parse(text: string, source: string): Credentials {
	let fields: Partial<Record<"AccessKeyId" | "SecretAccessKey" | "Token" | "Expiration", unknown>> = {};
	try {
		fields = JSON.parse(text) ?? {};
	} catch {
		// What is missing is told below.
	}
	const { AccessKeyId, SecretAccessKey, Token, Expiration } = fields;
	if (typeof AccessKeyId !== "string" || typeof SecretAccessKey !== "string") {
		throw new StoreError("unreachable", `the credentials of this machine's role: ${source} answered without any`);
	}
	const expiresMs = Date.parse(String(Expiration));
	return {
		accessKey: AccessKeyId,
		secretKey: SecretAccessKey,
		sessionToken: typeof Token === "string" ? Token : undefined,
		source: `this machine's role, ${source}`,
		expiresMs: Number.isNaN(expiresMs) ? undefined : expiresMs,
	};
}
