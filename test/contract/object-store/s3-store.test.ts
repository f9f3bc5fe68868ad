/** The contract of object stores, held by S3Store in front of an S3 service in this process. */
import { S3Store } from "../../../tiering/s3.ts";
import { FakeS3 } from "../../support/fake-s3.ts";
import { s3Options } from "../../support/s3-options.ts";
import { objectStoreContract } from "./contract.ts";

objectStoreContract("S3Store", async () => {
	const fake = new FakeS3();
	await fake.start("bucket");
	return {
		open: () => new S3Store(s3Options({ endpoint: fake.endpoint })),
		stop: () => fake.stop(),
		secrets: ["fake-secret"],
	};
});
