/**
 * A partition's folder. It is made when the first segment is, not when the topic is: a topic of very many partitions
 * is one row each in the catalog, and a start need not look for what was never written.
 */
import { type Disk, joinPath } from "../base/disk.ts";
import { PARTITION_METADATA, partitionMetadata } from "./layout.ts";

export class PartitionFolder {
	readonly path: string;
	readonly #disk: Disk;
	readonly #topicId: string;
	#state: "missing" | "made" | "durable";

	/** `found`: it is there, with its metadata. */
	constructor(disk: Disk, path: string, topicId: string, found: boolean) {
		this.#disk = disk;
		this.path = path;
		this.#topicId = topicId;
		// Found after a crash it may still be in the cache only.
		this.#state = found ? "made" : "missing";
	}

	/** Makes it if need be; durable after the next `sync`. Throws ENOSPC and EIO. */
	make(): void {
		if (this.#state !== "missing") return;
		this.#disk.makeDirectory(this.path);
		const file = this.#disk.open(joinPath(this.path, PARTITION_METADATA), "create");
		try {
			const metadata = Buffer.from(partitionMetadata(this.#topicId));
			file.write([metadata], 0);
			file.truncate(metadata.length);
		} finally {
			file.close();
		}
		this.#state = "made";
	}

	/** Makes durable which files it has, and that it is there. */
	async sync(): Promise<void> {
		if (this.#state === "missing") return;
		if (this.#state === "made") {
			const file = this.#disk.open(joinPath(this.path, PARTITION_METADATA), "write");
			try {
				await file.sync();
			} finally {
				file.close();
			}
		}
		this.#disk.syncDirectory(this.path);
		if (this.#state === "made") this.#disk.syncDirectory(joinPath(this.path, ".."));
		this.#state = "durable";
	}
}
