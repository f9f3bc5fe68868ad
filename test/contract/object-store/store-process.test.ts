/** The contract of object stores, held through a store process: by both stores, of the program as it is shipped. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { openStoreProcess } from "../../../tiering/open-store.ts";
import { FakeS3 } from "../../support/fake-s3.ts";
import { s3Options } from "../../support/s3-options.ts";
import { objectStoreContract } from "./contract.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../../dist/headwater.js");

objectStoreContract("StoreProcess of an S3 service", async () => {
	const fake = new FakeS3();
	await fake.start("bucket");
	return {
		open: () => openStoreProcess(s3Options({ endpoint: fake.endpoint }), PROGRAM),
		stop: () => fake.stop(),
		secrets: ["fake-secret"],
	};
});

objectStoreContract("StoreProcess of a folder", async () => {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "store-process-"));
	const url = pathToFileURL(path.join(folder, "objects")).href;
	const open = () => openStoreProcess(s3Options({ url, partBytes: 65_536 }), PROGRAM);
	// A folder becomes a store with its first claim.
	const first = open();
	await first.putIfAbsent("claim", Buffer.from("first"));
	await first.close();
	return { open, stop: () => fs.rmSync(folder, { recursive: true }) };
});
