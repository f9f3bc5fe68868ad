/** What an S3 url and endpoint mean, and how those that cannot be right are told. */
import { describe, expect, it } from "vitest";
import type { ObjectStoreOptions } from "../../../tiering/object-store.ts";
import { openStore } from "../../../tiering/open-store.ts";
import { s3Address } from "../../../tiering/s3/s3-address.ts";
import { s3Options } from "../../support/s3-options.ts";

const address = (given: Partial<ObjectStoreOptions>, env: NodeJS.ProcessEnv = {}) =>
	s3Address(s3Options({ region: undefined, ...given }), env);

describe("an S3 address", () => {
	it("has a bucket, and a prefix with one slash at its end", () => {
		expect(address({ url: "s3://bucket" })).toMatchObject({ bucket: "bucket", prefix: "" });
		expect(address({ url: "s3://bucket/" })).toMatchObject({ bucket: "bucket", prefix: "" });
		expect(address({ url: "s3://bucket//a/b//" })).toMatchObject({ bucket: "bucket", prefix: "a/b/" });
	});

	it("is AWS's of the region where no endpoint is given", () => {
		const amazon = { port: 443, tls: true, pathStyle: false };
		expect(address({})).toMatchObject({ ...amazon, host: "s3.us-east-1.amazonaws.com", region: undefined });
		expect(address({}).hostIn("ap-south-2")).toBe("s3.ap-south-2.amazonaws.com");
		expect(address({ endpoint: "http://minio" }).hostIn("ap-south-2")).toBe("minio");
		expect(address({ region: "eu-west-1" })).toMatchObject({ ...amazon, host: "s3.eu-west-1.amazonaws.com" });
		expect(address({}, { AWS_REGION: "cn-north-1" })).toMatchObject({
			...amazon,
			host: "s3.cn-north-1.amazonaws.com.cn",
			region: "cn-north-1",
		});
	});

	it("takes host, port and region from the endpoint", () => {
		const own = { host: "minio.local", port: 9000, tls: false, pathStyle: true, region: undefined };
		expect(address({ endpoint: "http://minio.local:9000" })).toMatchObject(own);
		expect(address({}, { AWS_ENDPOINT_URL_S3: "http://minio.local:9000" })).toMatchObject(own);
		const amazon = { host: "s3.eu-west-1.amazonaws.com", region: "eu-west-1", pathStyle: false, port: 443 };
		expect(address({ endpoint: "https://s3.eu-west-1.amazonaws.com" })).toMatchObject(amazon);
		expect(address({ endpoint: "http://[::1]:80" })).toMatchObject({ host: "::1", port: 80 });
	});

	it("has the bucket in the path or in the host's name, as asked", () => {
		const endpoint = "https://store.example";
		expect(address({ endpoint, addressing: "auto" }).pathStyle).toBe(true);
		expect(address({ endpoint, addressing: "virtual" }).pathStyle).toBe(false);
		expect(address({ addressing: "path" }).pathStyle).toBe(true);
		// A wildcard certificate is good for one name, not for two.
		expect(address({ url: "s3://a.bucket" }).pathStyle).toBe(true);
	});

	it("has a name for people", () => {
		expect(address({ url: "s3://bucket/a/", endpoint: "http://h:9" }).name).toBe("s3://bucket/a at http://h:9");
		expect(address({ url: "s3://bucket" }).name).toBe("s3://bucket at https://s3.us-east-1.amazonaws.com");
	});

	it.each([
		[{ url: "s3:/bucket" }, "objectStore.url"],
		[{ url: "s3://" }, "objectStore.url"],
		[{ url: "s3://Bucket" }, "Bucket is no name of a bucket"],
		[{ url: "s3://10.0.0.1/a" }, "10.0.0.1 is no name of a bucket"],
		[{ url: "s3://bucket/a b" }, "a prefix is of letters"],
		[{ endpoint: "minio:9000" }, "objectStore.endpoint"],
		[{ endpoint: "ftp://minio" }, "objectStore.endpoint"],
		[{ endpoint: "http://minio/bucket" }, "it has no path"],
		[{ endpoint: "http://10.0.0.1:9000", addressing: "virtual" }, "objectStore.addressing"],
	] as const)("that cannot be right is refused with the key that is wrong: %j", (given, words) => {
		expect(() => address(given)).toThrow(words);
	});

	it("with keys in the endpoint is refused without saying them", () => {
		const endpoint = "http://user:secret@minio:9000";
		expect(() => address({ endpoint })).toThrow("keys belong in objectStore.access.key");
		expect(() => address({ endpoint })).not.toThrow("secret@");
	});
});

describe("openStore", () => {
	it("tells which urls there are", () => {
		expect(() => openStore(s3Options({ url: "http://bucket" }))).toThrow("s3://bucket/prefix nor file:///folder");
		expect(openStore(s3Options({ url: "s3://bucket" })).name).toContain("s3://bucket");
		expect(openStore(s3Options({ url: "file:///mnt/usb" })).name).toContain("file:///mnt/usb");
	});
});
