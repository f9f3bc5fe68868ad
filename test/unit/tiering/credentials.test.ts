/** Where the credentials for an S3 service are looked for, in which order, and when again. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { StoreError } from "../../../tiering/object-store.ts";
import { CredentialChain, type CredentialsOptions } from "../../../tiering/s3/credentials.ts";

const NONE = { accessKey: undefined, secretKey: undefined, sessionToken: undefined };
const NOWHERE = { ...NONE, credentialsFile: undefined, profile: undefined };
const NO_ROLE = { AWS_EC2_METADATA_DISABLED: "true" };
const FILE = "/etc/credentials";

const clock = new SimulatedClock();
const disk = new SimulatedDisk({ random: new SimulatedRandom("credentials") });
disk.makeDirectory("/etc");

function write(text: string, name = FILE): void {
	const file = disk.open(name, "create");
	file.truncate(0);
	file.write([Buffer.from(text)], 0);
	file.close();
}

const chain = (given: Partial<CredentialsOptions>): CredentialChain =>
	new CredentialChain({ ...NOWHERE, env: NO_ROLE, disk, clock, ...given });

async function refusal(given: Partial<CredentialsOptions>): Promise<StoreError> {
	return chain(given)
		.credentials()
		.then(
			() => expect.fail("there were credentials"),
			(error: StoreError) => error,
		);
}

const inEnvironment = {
	AWS_ACCESS_KEY_ID: "env-key",
	AWS_SECRET_ACCESS_KEY: "env-secret",
	AWS_SESSION_TOKEN: "env-token",
};
const inOptions = { accessKey: "own-key", secretKey: "own-secret" };

describe("credentials", () => {
	it("come from the configuration, then the environment, then the file", async () => {
		write("[default]\naws_access_key_id=file-key\naws_secret_access_key=file-secret\n");
		const env = { ...NO_ROLE, AWS_SHARED_CREDENTIALS_FILE: FILE };
		const both = { ...env, ...inEnvironment };
		expect(await chain({ ...inOptions, env: both }).credentials()).toMatchObject({
			accessKey: "own-key",
			secretKey: "own-secret",
			sessionToken: undefined,
			source: "objectStore.access.key",
		});
		expect(await chain({ env: both }).credentials()).toMatchObject({
			accessKey: "env-key",
			secretKey: "env-secret",
			sessionToken: "env-token",
			source: "AWS_ACCESS_KEY_ID",
		});
		expect(await chain({ env }).credentials()).toMatchObject({ accessKey: "file-key", secretKey: "file-secret" });
	});

	it("of which half is missing are told", async () => {
		expect(await refusal({ accessKey: "own-key" })).toMatchObject({
			kind: "denied",
			message: "objectStore.secret.key is missing, and objectStore.access.key is there: both are needed",
		});
		expect((await refusal({ secretKey: "own-secret" })).message).toContain("objectStore.access.key is missing");
		write("[default]\naws_access_key_id=file-key\n");
		expect((await refusal({ credentialsFile: FILE })).message).toContain("aws_secret_access_key of [default] in");
	});

	it("that are nowhere are told with all the places", async () => {
		const { kind, message } = await refusal({ env: { ...NO_ROLE, AWS_SHARED_CREDENTIALS_FILE: "/none" } });
		expect(kind).toBe("denied");
		for (const place of ["objectStore.access.key", "AWS_ACCESS_KEY_ID", "credentials file", "role"]) {
			expect(message).toContain(place);
		}
	});

	it("are of the profile that is named", async () => {
		write(
			[
				"# comment",
				"[default]",
				"aws_access_key_id = one",
				"aws_secret_access_key = first=secret",
				"",
				"[ site-a ]",
				"; comment",
				"AWS_ACCESS_KEY_ID=two",
				"aws_secret_access_key=second\r",
				"aws_session_token = token",
				"[other]",
				"region = nowhere",
			].join("\n"),
		);
		const given = { credentialsFile: FILE };
		expect(await chain(given).credentials()).toMatchObject({ accessKey: "one", secretKey: "first=secret" });
		const two = { accessKey: "two", secretKey: "second", sessionToken: "token" };
		expect(await chain({ ...given, profile: "site-a" }).credentials()).toMatchObject(two);
		expect(await chain({ ...given, env: { ...NO_ROLE, AWS_PROFILE: "site-a" } }).credentials()).toMatchObject(two);
		expect((await refusal({ ...given, profile: "site-b" })).message).toContain("has no profile [site-b]");
		expect((await refusal({ credentialsFile: "/etc/none" })).message).toContain("there is no file /etc/none");
	});

	it("of a file are read again when they were refused, given ones are not", async () => {
		write("[default]\naws_access_key_id=old\naws_secret_access_key=x\n");
		const fromFile = chain({ credentialsFile: FILE });
		const old = await fromFile.credentials();
		write("[default]\naws_access_key_id=new\naws_secret_access_key=x\n");
		expect(await fromFile.credentials()).toBe(old);
		expect(fromFile.forget(old)).toBe(true);
		expect((await fromFile.credentials()).accessKey).toBe("new");
		const given = chain(inOptions);
		expect(given.forget(await given.credentials())).toBe(false);
	});
});

describe("credentials of a role", () => {
	let server: http.Server | undefined;
	const asked: string[] = [];
	afterEach(async () => {
		await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
		server = undefined;
		asked.length = 0;
	});

	async function serve(
		answer: (target: string, headers: http.IncomingHttpHeaders) => string | undefined,
	): Promise<string> {
		const made = http.createServer((request, response) => {
			const target = `${request.method} ${request.url}`;
			asked.push(target);
			const text = answer(target, request.headers);
			response.writeHead(text === undefined ? 404 : 200, { connection: "close" }).end(text);
		});
		server = made;
		await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve));
		return `http://127.0.0.1:${(made.address() as AddressInfo).port}`;
	}

	const role = (name: string, expiresMs: number): string =>
		JSON.stringify({
			AccessKeyId: name,
			SecretAccessKey: "role-secret",
			Token: "role-token",
			Expiration: new Date(expiresMs).toISOString(),
		});

	it("come from the container's service that the environment names, with its token", async () => {
		const url = await serve((_, { authorization }) => (authorization === "let me" ? role("box", 0) : undefined));
		write("let me\n", "/etc/token");
		const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/role` };
		const found = { accessKey: "box", secretKey: "role-secret", sessionToken: "role-token" };
		const withToken = { ...env, AWS_CONTAINER_AUTHORIZATION_TOKEN: "let me" };
		expect(await chain({ env: withToken }).credentials()).toMatchObject(found);
		const withFile = { ...env, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/etc/token" };
		expect(await chain({ env: withFile }).credentials()).toMatchObject(found);
		expect(await refusal({ env })).toMatchObject({ kind: "unreachable", message: expect.stringContaining("404") });
	});

	it("come from an instance's metadata, in three steps", async () => {
		const url = await serve((target, headers) => {
			if (target === "PUT /latest/api/token") return "session";
			if (headers["x-aws-ec2-metadata-token"] !== "session") return undefined;
			if (target === "GET /latest/meta-data/iam/security-credentials/") return "gateway role\n";
			return target === "GET /latest/meta-data/iam/security-credentials/gateway%20role" ? role("ec2", 0) : undefined;
		});
		const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: url };
		expect(await chain({ env }).credentials()).toMatchObject({ accessKey: "ec2", sessionToken: "role-token" });
		expect(asked).toHaveLength(3);
	});

	it("are asked for again shortly before they expire, and not sooner", async () => {
		const expiresMs = clock.now() + 3_600_000;
		const url = await serve(() => role("box", expiresMs));
		const held = chain({ env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: url } });
		await held.credentials();
		await clock.advance(3_200_000);
		await held.credentials();
		expect(asked).toHaveLength(1);
		await clock.advance(200_000);
		await held.credentials();
		expect(asked).toHaveLength(2);
	});

	it("that the service does not give are told with its address", async () => {
		const url = await serve(() => "<html>no</html>");
		const error = await refusal({ env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: url } });
		expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining(url) });
		const nobody = await refusal({ env: { AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1" } });
		expect(nobody.kind).toBe("denied");
	});
});
