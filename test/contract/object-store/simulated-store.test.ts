import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedBucket } from "../../support/simulated-bucket.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";
import { objectStoreContract } from "./contract.ts";

objectStoreContract("SimulatedStore", () => {
	const clock = new SimulatedClock();
	const bucket = new SimulatedBucket({ clock, leastPartBytes: 4096 });
	return { open: () => new SimulatedStore({ clock, bucket, partBytes: 16 * 1024 }) };
});
