/** What S3Store makes of a service, a network or a configuration that fails: the kind of error, its words, and no harm. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { type ObjectStoreOptions, StoreError, type StoreErrorKind } from "../../../tiering/object-store.ts";
import { S3Store, type S3StoreSettings } from "../../../tiering/s3.ts";
import { FakeS3, type FakeS3Options, type Fault } from "../../support/fake-s3.ts";
import { temporaryFolder } from "../../support/gateway.ts";
import { s3Options } from "../../support/s3-options.ts";
import { errorOf } from "./store-bench.ts";

const BODY = Buffer.from("what is to be stored");
const tlsFile = (name: string): string => path.resolve(import.meta.dirname, "../../support/tls", name);

let fake: FakeS3;
let store: S3Store;

async function start(
	server: FakeS3Options = {},
	given: Partial<ObjectStoreOptions> = {},
	settings: S3StoreSettings = {},
) {
	fake = new FakeS3(server);
	await fake.start("bucket");
	store = open(given, settings);
}

function open(given: Partial<ObjectStoreOptions> = {}, settings: S3StoreSettings = {}): S3Store {
	return new S3Store(s3Options({ endpoint: fake.endpoint, ...given }), { env: {}, ...settings });
}

async function failure(call: Promise<unknown>): Promise<StoreError> {
	const error = await errorOf(call);
	expect(error).toBeInstanceOf(StoreError);
	return error as StoreError;
}

/** Once: what comes after it is served. */
function once(fault: Fault, when: "before" | "stored" = "before"): void {
	fake.fault = (_, stored) => {
		if (stored !== (when === "stored")) return undefined;
		fake.fault = () => undefined;
		return fault;
	};
}

beforeEach(() => start());
afterEach(async () => {
	await store.close();
	await fake.stop();
});

describe("an answer", () => {
	const answers: [number, string, StoreErrorKind][] = [
		[503, "SlowDown", "unreachable"],
		[500, "InternalError", "unreachable"],
		[503, "", "unreachable"],
		[429, "TooManyRequests", "unreachable"],
		[400, "RequestTimeout", "unreachable"],
		[409, "OperationAborted", "unreachable"],
		[400, "BadDigest", "unreachable"],
		[403, "AccessDenied", "denied"],
		[403, "InvalidAccessKeyId", "denied"],
		[403, "SignatureDoesNotMatch", "denied"],
		[400, "ExpiredToken", "denied"],
		[403, "RequestTimeTooSkewed", "skewed"],
		[404, "NoSuchBucket", "no-bucket"],
		[507, "XMinioStorageFull", "full"],
		[403, "QuotaExceeded", "full"],
		[400, "InvalidArgument", "refused"],
		[501, "NotImplemented", "refused"],
		[405, "MethodNotAllowed", "refused"],
	];

	it.each(answers)("%i %s is an error of its kind for every call", async (status, code, kind) => {
		fake.fault = () => ({ status, code });
		const upload = { key: "a", id: "1" };
		const calls = {
			put: store.put("a", BODY),
			putIfAbsent: store.putIfAbsent("a", BODY),
			beginUpload: store.beginUpload("a"),
			putPart: store.putPart(upload, 1, BODY),
			completeUpload: store.completeUpload(upload, ["etag"]),
			abortUpload: store.abortUpload(upload),
			uploads: store.uploads("a"),
			get: store.get("a", 0, 1),
			getLast: store.getLast("a", 1),
			head: store.head("a"),
			list: store.list("a"),
			delete: store.delete("a"),
		};
		const errors = await Promise.all(Object.values(calls).map(failure));
		for (const [i, name] of Object.keys(calls).entries()) {
			const error = errors[i] as StoreError;
			expect([name, error.kind]).toEqual([name, kind]);
			expect(error.message).toContain("s3://bucket/some/prefix at http://127.0.0.1:");
			expect(error.message).not.toContain("fake-secret");
		}
		expect(fake.buckets.get("bucket")?.size).toBe(0);
	});

	it("of something else than an S3 service is no success, and is told as what it is", async () => {
		const login = { status: 302, text: "<html>Welcome</html>", headers: { location: "http://portal/" } };
		fake.fault = () => login;
		for (const error of await Promise.all([store.put("a", BODY), store.get("a", 0, 1), store.list("")].map(failure))) {
			expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining("portal") });
		}
		fake.fault = () => ({ status: 200, text: "<html>Welcome</html>" });
		const calls = [store.put("a", BODY), store.beginUpload("a"), store.list(""), store.uploads("")];
		for (const error of await Promise.all(calls.map(failure))) expect(error.kind).toBe("unreachable");
	});

	it("of success whose text says otherwise is no success", async () => {
		const upload = await store.beginUpload("a");
		const etag = await store.putPart(upload, 1, BODY);
		// AWS answers 200 before it knows.
		const text = "\n<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>";
		once({ status: 200, text });
		expect(await failure(store.completeUpload(upload, [etag]))).toMatchObject({
			kind: "unreachable",
			message: expect.stringContaining("We encountered an internal error."),
		});
		expect(await store.head("a")).toBeUndefined();
	});

	it("to a range that is the whole object is cut to what was asked for", async () => {
		const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
		await store.put("a", bytes);
		fake.knowsRanges = false;
		expect((await store.get("a", 0, 10)).equals(bytes.subarray(0, 10))).toBe(true);
		expect((await store.get("a", 150_000, 70_000)).equals(bytes.subarray(150_000, 220_000))).toBe(true);
		expect(await store.get("a", 300_000, 1)).toHaveLength(0);
		const last = await store.getLast("a", 70_000);
		expect(last.bytes.equals(bytes.subarray(-70_000))).toBe(true);
		expect(last.sizeBytes).toBe(300_000);
	});

	it("with fewer bytes than it says, or others, is no object", async () => {
		const headers = (range: string) => ({ "content-range": range });
		for (const range of ["bytes 0-9/10", "bytes 3-7/10", "bytes */10", "nonsense"]) {
			fake.fault = () => ({ status: 206, text: "short", headers: headers(range) });
			expect(await failure(store.get("a", 0, 10))).toMatchObject({ kind: "unreachable" });
			expect(await failure(store.getLast("a", 10))).toMatchObject({ kind: "unreachable" });
		}
	});

	it("is asked for once: what to try again is the caller's affair", async () => {
		fake.fault = () => ({ status: 503, code: "SlowDown" });
		await failure(store.put("a", BODY));
		expect(fake.log).toHaveLength(1);
	});
});

describe("a connection", () => {
	it("cut after a change was stored leaves its outcome unknown", async () => {
		once("reset", "stored");
		expect(await failure(store.put("a", BODY))).toMatchObject({ kind: "unreachable", isTransient: true });
		expect((await store.get("a", 0, 100)).equals(BODY)).toBe(true);
	});

	it("that had been open before and is closed now is replaced, but not for a put if absent", async () => {
		await store.put("a", BODY);
		once("reset");
		expect((await store.get("a", 0, 4)).toString()).toBe("what");
		once("reset", "stored");
		expect(await failure(store.putIfAbsent("b", BODY))).toMatchObject({ kind: "unreachable" });
		expect(fake.log.filter(({ key }) => key.endsWith("/b"))).toHaveLength(1);
	});

	it("cut in the middle of an object gives no short one", async () => {
		await store.put("a", Buffer.alloc(500_000, 1));
		for (const read of [() => store.get("a", 0, 500_000), () => store.getLast("a", 400_000)]) {
			once("cut");
			expect(await failure(read())).toMatchObject({ kind: "unreachable" });
		}
		once("cut");
		expect(await failure(store.list(""))).toMatchObject({ kind: "unreachable" });
	});

	it("without an answer is given up", async () => {
		await store.close();
		store = open({ timeoutMs: 50 });
		for (const call of [() => store.put("a", BODY), () => store.get("a", 0, 1)]) {
			once("silence");
			const error = await failure(call());
			expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining("no answer for 50 ms") });
		}
	});

	it("to a host that does not exist names it as it was asked for", async () => {
		const error = await failure(open({ endpoint: "http://store.invalid", addressing: "virtual" }).list(""));
		expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining("bucket.store.invalid") });
		expect((await failure(open({ endpoint: "http://store.invalid" }).list(""))).message).not.toContain("bucket.store");
	});
});

describe("a body", () => {
	it("is sent with what the service checks it by", async () => {
		const upload = await store.beginUpload("a");
		fake.log.length = 0;
		await store.put("a", BODY);
		await store.putPart(upload, 1, BODY);
		for (const { headers } of fake.log) {
			expect(headers["x-amz-content-sha256"]).toBe(createHash("sha256").update(BODY).digest("hex"));
		}
	});

	it("leaves at its pace, in slices, together with others", async () => {
		const clock = new SimulatedClock({ startMs: Date.now() });
		await store.close();
		store = open({ bytesPerSecond: 1000 }, { clock });
		// A first request, so that the rest of the test is not about loading the client.
		await store.head("nothing");
		const calls = [store.put("a", Buffer.alloc(1000)), store.put("b", Buffer.alloc(1000))];
		let done = 0;
		for (const call of calls) call.then(() => done++);
		const step = async () => {
			await new Promise((resolve) => setTimeout(resolve, 30));
			await clock.advance(250);
		};
		// Two bodies of a second each, in slices of a quarter: the last may leave when seven slices' time has passed.
		for (let ms = 0; ms < 1750; ms += 250) {
			expect(done).toBeLessThan(2);
			await step();
		}
		while (done < 2) await step();
		await Promise.all(calls);
	});
});

describe("the region", () => {
	it("is found out where none is given, once", async () => {
		await fake.stop();
		await start({ region: "eu-north-1" }, { region: undefined });
		await store.put("a", BODY);
		await store.get("a", 0, 1);
		expect(fake.log.map(({ method }) => method)).toEqual(["PUT", "PUT", "GET"]);
	});

	it("that is given and wrong is told with the right one", async () => {
		await fake.stop();
		await start({ region: "eu-north-1" }, { region: "us-west-2" });
		const error = await failure(store.put("a", BODY));
		expect(error).toMatchObject({ kind: "refused", message: expect.stringContaining("set objectStore.region") });
		expect(error.message).toContain("eu-north-1");
	});
});

describe("the clock", () => {
	it("that is off is told with both times, whatever the service calls it", async () => {
		const hour = 3_600_000;
		await fake.stop();
		await start({ clockMs: hour });
		expect(await failure(store.put("a", BODY))).toMatchObject({ kind: "skewed", isTransient: true });
		fake.fault = () => ({ status: 403, code: "AccessDenied" });
		const { kind, message } = await failure(store.list(""));
		expect(kind).toBe("skewed");
		const hours = message.match(/\d{4}-\d\d-\d\dT\d\d/g) as string[];
		expect(Date.parse(`${hours[1]}:00Z`) - Date.parse(`${hours[0]}:00Z`)).toBe(hour);
	});
});

describe("credentials", () => {
	it("of a file that were refused are read again", async () => {
		const folder = temporaryFolder("credentials");
		const file = path.join(folder, "credentials");
		const write = (secret: string) =>
			fs.writeFileSync(file, `[default]\naws_access_key_id = fake\naws_secret_access_key = ${secret}\n`);
		const given = { accessKey: undefined, secretKey: undefined, credentialsFile: file };
		write("old");
		const reader = open(given);
		expect(await failure(reader.list(""))).toMatchObject({ kind: "denied", message: expect.stringContaining(file) });
		write("fake-secret");
		expect((await reader.list("")).objects).toEqual([]);
		fs.rmSync(folder, { recursive: true });
	});

	it("that expire while they are used are told as expired, with their source", async () => {
		await fake.stop();
		await start({ sessionToken: "fresh" }, { sessionToken: "fresh" });
		await store.put("a", BODY);
		const stale = open({ sessionToken: "stale" });
		const error = await failure(stale.put("b", BODY));
		expect(error).toMatchObject({ kind: "denied", message: expect.stringContaining("token has expired") });
		expect(error.message).not.toContain("stale");
	});
});

describe("TLS", () => {
	const tls = {
		key: fs.readFileSync(tlsFile("server.key"), "utf8"),
		cert: fs.readFileSync(tlsFile("server.pem"), "utf8"),
	};
	beforeEach(async () => {
		await fake.stop();
		await start({ tls }, { caFile: tlsFile("authority.pem") });
	});

	it("with an authority of one's own, and a checksum for every body", async () => {
		await store.put("a", BODY);
		const upload = await store.beginUpload("b");
		await store.completeUpload(upload, [await store.putPart(upload, 1, BODY)]);
		expect((await store.getLast("b", 6)).bytes.toString()).toBe("stored");
		const md5 = createHash("md5").update(BODY).digest("base64");
		const bodies = fake.log.filter(({ method }) => method === "PUT");
		expect(bodies.map(({ headers }) => headers["content-md5"])).toEqual([md5, md5]);
	});

	it("with an authority that is not known says which key to set", async () => {
		const unknown = await failure(open().list(""));
		expect(unknown.kind).toBe("unreachable");
		expect(unknown.message).toContain("name its authority in objectStore.ca.file");
		const other = await failure(open({ caFile: tlsFile("another-authority.pem") }).list(""));
		expect(other.message).toContain("objectStore.ca.file holds another one");
	});

	it("with a file that is missing or holds none", async () => {
		for (const [caFile, words] of [
			["/nowhere/ca.pem", "there is no file /nowhere/ca.pem"],
			[tlsFile("README.md"), "holds no certificate"],
		] as const) {
			const error = await failure(open({ caFile }).list(""));
			expect(error).toMatchObject({ kind: "refused", message: expect.stringContaining(words) });
		}
	});

	it("where the other side does not speak it, or only it", async () => {
		const plain = new FakeS3();
		await plain.start("bucket");
		const error = await failure(open({ endpoint: plain.endpoint.replace("http:", "https:") }).list(""));
		expect(error).toMatchObject({ kind: "unreachable", message: expect.stringContaining("does not speak TLS") });
		await plain.stop();
		const other = await failure(open({ endpoint: fake.endpoint.replace("https:", "http:") }).list(""));
		expect(other.kind).toBe("unreachable");
	});
});

describe("a list of uploads", () => {
	it("of several pages is whole", async () => {
		fake.pageKeys = 2;
		const names = ["a", "b", "c", "d", "e"];
		for (const name of names) await store.beginUpload(name);
		expect((await store.uploads("")).map(({ key }) => key)).toEqual(names);
	});
});
