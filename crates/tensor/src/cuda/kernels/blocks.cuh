// Rows of matrices in ggml's block formats: what a lane reads of one at once, and the numbers that this stands for. -DFORMAT: how rows are stored;
// bytes as in ggml-common.h.
#pragma once
#include "common.cuh"

// In the order of the host's formats.
enum Format : i32 { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, INT8 };

// Neighbours to which every format gives one scale and one offset.
constexpr int GROUP = 16;
// A lane has two groups at once, as most formats have codes of both in the same bytes: the second begins GAP elements behind the first.
constexpr int UNIT = 2 * GROUP;
constexpr int GAP = FORMAT == Q4_K || FORMAT == Q5_K ? 32 : FORMAT == Q2_K || FORMAT == Q3_K || FORMAT == Q6_K ? 64 : GROUP;
DEVICE int column_of(int unit) { return unit / (GAP / GROUP) * (2 * GAP) + unit % (GAP / GROUP) * GROUP; }

// Blocks of 32 are a unit; those of 256 are eight.
constexpr bool IS_UNIT = FORMAT <= Q8_0;
constexpr int BLOCK_BYTES = FORMAT == Q4_0 ? 18 : FORMAT == Q4_1 ? 20 : FORMAT == Q5_0 ? 22 : FORMAT == Q5_1 ? 24 : FORMAT == Q8_0 ? 34
                          : FORMAT == Q2_K ? 84 : FORMAT == Q3_K ? 110 : FORMAT == Q4_K ? 144 : FORMAT == Q5_K ? 176 : 210;
// On whose boundary blocks and their parts lie, and rows of INT8.
constexpr int BOUNDARY = FORMAT == INT8 ? 1 : BLOCK_BYTES % 16 == 0 ? 16 : BLOCK_BYTES % 8 == 0 ? 8 : BLOCK_BYTES % 4 == 0 ? 4 : 2;
constexpr bool HAS_LEAST = FORMAT == Q4_1 || FORMAT == Q5_1 || FORMAT == Q2_K || FORMAT == Q4_K || FORMAT == Q5_K;
// Bits of a code, and by how much codes are stored too large, for none to be below zero.
constexpr int BITS = IS_UNIT ? (FORMAT == Q8_0 ? 8 : FORMAT >= Q5_0 ? 5 : 4) : FORMAT == INT8 ? 8 : FORMAT - Q2_K + 2;
constexpr int RAISED = BITS == 8 ? 128 : FORMAT == Q4_0 ? 8 : FORMAT == Q5_0 ? 16 : FORMAT == Q3_K ? 4 : FORMAT == Q6_K ? 32 : 0;
// How far codes are from the seventh bit of their byte.
constexpr int ROOM = BITS == 8 ? 0 : 7 - BITS;

// BYTES from some place on, as words: in the largest pieces that lie so in every block. Where these are less than a word, the words around them
// are read, which are put together later: no memory ends within a word.
template <int BYTES> struct Words {
    static constexpr int IN_PIECE = BOUNDARY < 4 ? 1 : BOUNDARY / 4;
    static constexpr int COUNT = (BYTES + (BOUNDARY < 4 ? 4 - BOUNDARY : 0) + 3) / 4;
    using Piece = Pack<u32, IN_PIECE>;
    u32 at[COUNT];

    // Nothing from `end` on.
    DEVICE void ask(const u8* from, const u8* end) {
        auto pieces = reinterpret_cast<const Piece*>(BOUNDARY < 4 ? from - reinterpret_cast<u64>(from) % 4 : from);
#pragma unroll
        for (int i = 0; i < COUNT / IN_PIECE; i++) {
            Piece piece = {};
            if (FORMAT != INT8 || reinterpret_cast<const u8*>(pieces + i) < end) piece = pieces[i];
#pragma unroll
            for (int k = 0; k < IN_PIECE; k++) at[i * IN_PIECE + k] = piece.at[k];
        }
    }
    // The word from byte `from` on, where the first byte is byte `off` of a word.
    DEVICE u32 word(int from, u32 off) const {
        int i = from / 4;
        if (BOUNDARY >= 4 && from % 4 == 0) return at[i];
        return __byte_perm(at[i], i + 1 < COUNT ? at[i + 1] : 0, 0x3210 + 0x1111 * (from % 4 + off));
    }
};

DEVICE float half_of(u32 bits) { return widen(f16_of_bits(u16(bits))); }

// Byte `i` of a word as a number, less `raised`: behind the exponent of 2²³, it is the end of a float.
DEVICE float byte_of(u32 word, int i, int raised = 0) {
    return __uint_as_float(__byte_perm(word, 0x4b000000, 0x7440 + i)) - float((1 << 23) + raised);
}

// What an element is: scale code + offset. A code that leaves room in its byte stands in the first bits of a float behind the exponent of 2⁷: what that
// adds is the offset's to take away, for 16 of them at once.
constexpr bool HAS_OFFSET = HAS_LEAST || BITS < 8;
struct Group {
    float scale, offset;
    u32 codes[GROUP / 4];

    DEVICE float code(int i) const {
        if constexpr (BITS == 8) return byte_of(codes[i / 4], i % 4, RAISED);
        else return __uint_as_float(__byte_perm(codes[i / 4], 0x43000000, 0x7044 + (i % 4 << 8)));
    }
};

// What a lane asks for of a unit, and has taken apart when it is there.
struct Stored {
    // Of blocks of 32, all; else the codes, or the lower bits of them.
    Words<IS_UNIT ? BLOCK_BYTES : FORMAT == INT8 ? UNIT : 16> low;
    Words<16> high;
    // Scales.
    Words<16> head;
    u32 off;

    DEVICE void ask(const u8* row, int unit, i64 row_bytes) {
        const u8 *block = row + i64(IS_UNIT ? unit : unit / 8) * BLOCK_BYTES, *end = row + row_bytes;
        int in_block = unit % 8, part = in_block / 4 * 32 + in_block % 2 * 16, scales = column_of(unit) / GROUP % 16;
        if constexpr (IS_UNIT) low.ask(block, end);
        else if constexpr (FORMAT == INT8) head.ask(row, row + 4), low.ask(row + 4 + unit * UNIT, end);
        else if constexpr (FORMAT == Q2_K) {
            low.ask(block + 16 + part, end);
            head.at[0] = block[scales], head.at[1] = block[scales + 4], head.at[2] = *reinterpret_cast<const u32*>(block + 80);
        } else if constexpr (FORMAT == Q3_K) {
            low.ask(block + 32 + part, end), high.ask(block + in_block % 2 * 16, end);
            head.at[0] = block[96 + scales % 8], head.at[1] = block[96 + (scales + 4) % 8], head.at[2] = block[104 + scales % 4];
            head.at[3] = *reinterpret_cast<const u16*>(block + 108);
        } else if constexpr (FORMAT == Q6_K) {
            low.ask(block + in_block * 16, end), high.ask(block + 128 + part, end);
            head.at[0] = block[192 + scales], head.at[1] = block[196 + scales], head.at[2] = *reinterpret_cast<const u16*>(block + 208);
        } else {
            head.ask(block, end), low.ask(block + (FORMAT == Q5_K ? 48 : 16) + in_block * 16, end);
            if (FORMAT == Q5_K) high.ask(block + 16 + in_block % 2 * 16, end);
        }
        off = BOUNDARY < 4 ? reinterpret_cast<u64>(FORMAT == INT8 ? row : block) % 4 : 0;
    }

    // The first (0) or the second (1) of its groups.
    DEVICE Group group(int unit, int which) const {
        Group group;
        set_scale(group, unit, which);
        if (BITS < 8) {
            group.offset -= group.scale * ((1 << BITS) + RAISED);
            group.scale *= 1.0f / (1 << ROOM);
        }
#pragma unroll
        for (int i = 0; i < GROUP / 4; i++) group.codes[i] = codes(unit, which, 4 * i) << ROOM;
        return group;
    }

private:
    DEVICE void set_scale(Group& group, int unit, int which) const {
        group.offset = 0;
        int in_block = unit % 8, scales = column_of(unit) / GROUP % 16 + which * (GAP / GROUP);
        if constexpr (IS_UNIT) {
            group.scale = half_of(low.word(0, off));
            if (HAS_LEAST) group.offset = half_of(low.word(0, off) >> 16);
        } else if constexpr (FORMAT == INT8) group.scale = __uint_as_float(head.word(0, off));
        else if constexpr (FORMAT == Q2_K) {
            group.scale = half_of(head.at[2]) * (head.at[which] & 15);
            group.offset = -(half_of(head.at[2] >> 16) * (head.at[which] >> 4));
        } else if constexpr (FORMAT == Q3_K) {
            u32 scale = (head.at[which] >> (scales / 8 * 4) & 15) | (head.at[2] >> (scales / 4 * 2) & 3) << 4;
            group.scale = half_of(head.at[3]) * (int(scale) - 32);
        } else if constexpr (FORMAT == Q6_K) group.scale = half_of(head.at[2]) * i8(head.at[which]);
        else {
            // Six bits of a scale and of a minimum for each 32 elements; the upper two of the last four are with the first four.
            bool is_first = in_block < 4;
            u32 some = is_first ? head.at[1] & 0x3f3f3f3f : (head.at[3] & 0x0f0f0f0f) | (head.at[1] >> 2 & 0x30303030);
            u32 least = is_first ? head.at[2] & 0x3f3f3f3f : (head.at[3] >> 4 & 0x0f0f0f0f) | (head.at[2] >> 2 & 0x30303030);
            int of_pair = in_block / 2 % 2 * 16;
            group.scale = half_of(head.at[0]) * byte_of(some >> of_pair, which);
            group.offset = -(half_of(head.at[0] >> 16) * byte_of(least >> of_pair, which));
        }
    }

    // Four codes of a group, from the `i`-th on.
    DEVICE u32 codes(int unit, int which, int i) const {
        // Where blocks of 256 have two bits of an element, and one.
        int two = unit / 2 % 2 * 2 + 4 * which, one = (column_of(unit) + which * GAP) / 32 % 8;
        if constexpr (FORMAT == INT8) return low.word(which * GROUP + i, off) ^ 0x80808080;
        else if constexpr (FORMAT == Q8_0) return low.word(2 + which * GROUP + i, off) ^ 0x80808080;
        else if constexpr (IS_UNIT) {
            // The low halves of 16 bytes are the first elements, their high halves the others; fifth bits stand before them.
            constexpr bool is_five = FORMAT == Q5_0 || FORMAT == Q5_1;
            constexpr int fifth_at = HAS_LEAST ? 4 : 2, low_at = fifth_at + (is_five ? 4 : 0);
            u32 code = low.word(low_at + i, off) >> 4 * which & 0x0f0f0f0f;
            // The factor has a one for each byte, as far from the next as four bits need to get to theirs.
            if (is_five) code |= (low.word(fifth_at, off) >> (which * GROUP + i) & 15) * 0x02040810 & 0x10101010;
            return code;
        } else if constexpr (FORMAT == Q2_K) return low.word(i, off) >> two & 0x03030303;
        else if constexpr (FORMAT == Q3_K) return (low.word(i, off) >> two & 0x03030303) | (high.word(i, off) >> one & 0x01010101) << 2;
        else {
            u32 code = low.word(i, off) >> 4 * which & 0x0f0f0f0f;
            if (FORMAT == Q5_K) code |= (high.word(i, off) >> one & 0x01010101) << 4;
            if (FORMAT == Q6_K) code |= (high.word(i, off) >> two & 0x03030303) << 4;
            return code;
        }
    }
};
