import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { DirectoryStore } from "../../../tiering/directory-store.ts";
import { objectStoreContract } from "./contract.ts";

const partBytes = 16 * 1024;

objectStoreContract("DirectoryStore on NodeDisk", async () => {
	const root = mkdtempSync(join(tmpdir(), "headwater-objects-"));
	const open = () => new DirectoryStore({ url: `file://${root}/objects`, partBytes }, new NodeDisk());
	await open().putIfAbsent("claim", Buffer.from("first"));
	return { open, stop: () => rmSync(root, { recursive: true, force: true }) };
});

/** `links`: whether the file system knows hard links; FAT does not. */
function onSimulatedDisk(links: boolean) {
	return async () => {
		let nowMs = 1_700_000_000_000;
		const random = new SimulatedRandom("directory");
		const disk = new SimulatedDisk({ random: random.fork("disk"), now: () => nowMs++ });
		if (!links) disk.inject({ operation: "link", code: "EPERM", times: Number.POSITIVE_INFINITY });
		disk.makeDirectory("/mnt");
		const open = () => new DirectoryStore({ url: "file:///mnt/usb", partBytes }, disk, random);
		await open().putIfAbsent("claim", Buffer.from("first"));
		return { open };
	};
}

objectStoreContract("DirectoryStore on SimulatedDisk", onSimulatedDisk(true));
objectStoreContract("DirectoryStore without hard links", onSimulatedDisk(false));
