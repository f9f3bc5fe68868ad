/**
 * Reason codes of MQTT 5.0 (section 2.4, table 2-6) under the standard's names, and what remains of them in MQTT 3.1
 * and 3.1.1, which have return codes in CONNACK and SUBACK only. Every packet shape uses the codes of 5.0; the encoder
 * and decoder translate for the older versions.
 */

export const ReasonCode = {
	/** Also Normal disconnection (DISCONNECT) and Granted QoS 0 (SUBACK). */
	Success: 0x00,
	NormalDisconnection: 0x00,
	GrantedQos0: 0x00,
	GrantedQos1: 0x01,
	GrantedQos2: 0x02,
	DisconnectWithWillMessage: 0x04,
	NoMatchingSubscribers: 0x10,
	NoSubscriptionExisted: 0x11,
	ContinueAuthentication: 0x18,
	ReAuthenticate: 0x19,
	UnspecifiedError: 0x80,
	MalformedPacket: 0x81,
	ProtocolError: 0x82,
	ImplementationSpecificError: 0x83,
	UnsupportedProtocolVersion: 0x84,
	ClientIdentifierNotValid: 0x85,
	BadUserNameOrPassword: 0x86,
	NotAuthorized: 0x87,
	ServerUnavailable: 0x88,
	ServerBusy: 0x89,
	Banned: 0x8a,
	ServerShuttingDown: 0x8b,
	BadAuthenticationMethod: 0x8c,
	KeepAliveTimeout: 0x8d,
	SessionTakenOver: 0x8e,
	TopicFilterInvalid: 0x8f,
	TopicNameInvalid: 0x90,
	PacketIdentifierInUse: 0x91,
	PacketIdentifierNotFound: 0x92,
	ReceiveMaximumExceeded: 0x93,
	TopicAliasInvalid: 0x94,
	PacketTooLarge: 0x95,
	MessageRateTooHigh: 0x96,
	QuotaExceeded: 0x97,
	AdministrativeAction: 0x98,
	PayloadFormatInvalid: 0x99,
	RetainNotSupported: 0x9a,
	QosNotSupported: 0x9b,
	UseAnotherServer: 0x9c,
	ServerMoved: 0x9d,
	SharedSubscriptionsNotSupported: 0x9e,
	ConnectionRateExceeded: 0x9f,
	MaximumConnectTime: 0xa0,
	SubscriptionIdentifiersNotSupported: 0xa1,
	WildcardSubscriptionsNotSupported: 0xa2,
} as const;

/**
 * The CONNACK return code of MQTT 3.1 and 3.1.1 (table 3.1 there) for a reason code of 5.0; undefined where none
 * applies: the server then closes without a CONNACK ([MQTT-3.2.2-6] of 3.1.1).
 */
export function connackReturnCode(reasonCode: number): number | undefined {
	switch (reasonCode) {
		case ReasonCode.Success:
			return 0;
		case ReasonCode.UnsupportedProtocolVersion:
			return 1;
		case ReasonCode.ClientIdentifierNotValid:
			return 2;
		case ReasonCode.ServerUnavailable:
		case ReasonCode.ServerBusy:
		case ReasonCode.ServerShuttingDown:
		case ReasonCode.QuotaExceeded:
		case ReasonCode.UseAnotherServer:
		case ReasonCode.ServerMoved:
		case ReasonCode.ConnectionRateExceeded:
			return 3;
		case ReasonCode.BadUserNameOrPassword:
			return 4;
		case ReasonCode.NotAuthorized:
		case ReasonCode.Banned:
			return 5;
		default:
			return undefined;
	}
}

const REASON_OF_RETURN_CODE = [
	ReasonCode.Success,
	ReasonCode.UnsupportedProtocolVersion,
	ReasonCode.ClientIdentifierNotValid,
	ReasonCode.ServerUnavailable,
	ReasonCode.BadUserNameOrPassword,
	ReasonCode.NotAuthorized,
] as const;

/** The reason code of 5.0 for a CONNACK return code of 3.1 or 3.1.1; undefined for the reserved ones (6 and above). */
export function reasonOfConnackReturnCode(returnCode: number): number | undefined {
	return REASON_OF_RETURN_CODE[returnCode];
}
