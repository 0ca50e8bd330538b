//! Long answers: something to interrupt.

/// A story of more than half a minute.
pub(super) const STORY: &str = "\
Once upon a time, there was a small packet of sound. \
It was born in a microphone, when somebody said the word hello. \
It was only twenty milliseconds long, but it had a long way to go. \
First it was squeezed, until it was a hundred times smaller than before. \
Then it was sealed in an envelope, so that nobody on the way could read it, and out it went into the network. \
The packet ran through cables and over mountains, and some of its brothers took a wrong turn and were never seen again. \
At last it came to a little house at the edge of the city, where a relay lived. \
The relay did not open the envelope. It only read the address on the outside, and it said: go on, third door on the left. \
Behind the third door lived the transceiver, who knew the secret of the envelope, and who had been waiting for exactly this packet. \
It was late by three milliseconds, but the transceiver had kept its place in the line. \
The packet was opened and became sound again, and somebody listened to it very carefully, and understood the word hello. \
And so an answer was born, also twenty milliseconds long, and it went all the way back. \
If it has not been lost, it is talking to you right now. The end.";

/// Short jokes, told in turn.
pub(super) const JOKES: [&str; 3] = [
    "I would tell you a joke about U D P, but you might not get it.",
    "Why did the packet cross the road? Because the other route had too much jitter.",
    "There are two hard things in voice agents: naming things, and knowing when you have finished, wait, go on.",
];
