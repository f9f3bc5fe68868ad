/** `headwater upstream`: the way to the central cluster: how it stands, wait, go on, go on elsewhere. */
import type { Command } from "commander";
import { withGateway } from "./gateway.ts";
import { addExamples, gatewayAddress } from "./options.ts";
import { print } from "./output.ts";
import { addUpstreamReset } from "./upstream-reset.ts";
import { addUpstreamStatus } from "./upstream-status.ts";

export function addUpstream(program: Command): void {
	const upstream = program
		.command("upstream")
		.description("show, pause, resume and put right what goes to the central cluster and comes from it");
	addExamples(
		upstream,
		"headwater upstream status",
		"headwater upstream status --watch",
		"headwater upstream pause",
		"headwater upstream reset --to progress",
	);
	addUpstreamStatus(upstream);
	addPause(upstream);
	addResume(upstream);
	addUpstreamReset(upstream);
}

function addPause(upstream: Command): void {
	const command = upstream
		.command("pause")
		.description("send nothing more and take nothing more, until resume; records wait on this machine");
	addExamples(command, "headwater upstream pause");
	command.action(async () => {
		await withGateway(gatewayAddress(command), (client) => client.upstream.pause());
		await print("paused, over restarts too; `headwater upstream resume` goes on\n");
	});
}

function addResume(upstream: Command): void {
	const command = upstream.command("resume").description("go on where it was paused, or try again now");
	addExamples(command, "headwater upstream resume");
	command.action(async () => {
		await withGateway(gatewayAddress(command), (client) => client.upstream.resume());
		await print("resumed; `headwater upstream status` shows how it goes\n");
	});
}
