/** A small file as a whole: credentials, certificates. */
import type { Disk } from "../../src/base/disk.ts";

/** undefined where there is no such file. */
export function readText(disk: Disk, name: string): string | undefined {
	const size = disk.fileSize(name);
	if (size === undefined) return undefined;
	const file = disk.open(name, "read");
	try {
		const bytes = Buffer.alloc(size);
		return bytes.subarray(0, file.readSync(bytes, 0)).toString("utf8");
	} finally {
		file.close();
	}
}
