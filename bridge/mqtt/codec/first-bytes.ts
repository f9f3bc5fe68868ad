/** The first byte of the four acknowledgements (sections 3.4 to 3.7): packet type and flags, which are fixed. */
export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;
