/** A small file as a whole: credentials, certificates. */
import { type Disk, joinPath } from "./disk.ts";

const FILE_BYTES_MAX = 1_048_576;

/** Throws what the disk throws, and an Error where the file is larger than 1 MiB. */
export function readSmallFile(disk: Disk, file: string): Buffer {
	const opened = disk.open(joinPath(file), "read");
	try {
		const size = opened.size();
		if (size > FILE_BYTES_MAX) throw new Error("larger than 1 MiB");
		const bytes = Buffer.alloc(size);
		return bytes.subarray(0, opened.readSync(bytes, 0));
	} finally {
		opened.close();
	}
}

/** Its first line, where a line ends it: as a secret is kept in a file. */
export function readSecret(disk: Disk, file: string): string {
	return readSmallFile(disk, file)
		.toString("utf8")
		.replace(/\r?\n$/, "");
}
