"""Writes ``sentences.txt``, the small corpus of words in sentences after which `ultra_kit.name` names latent tokens.

    python data/words/write.py

Every kind of word stands in sentences that say what it is; each word is drawn into about two of them, with others of its
kind. `PLAIN` are sentences for the words that hold a language together, `FACTS` public facts. The draw has a fixed seed:
the same file comes out each time. Written for this project, with no person and no invented fact in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Kind: words; then the sentences that they stand in.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wild animals": (
        "lion tiger elephant giraffe zebra monkey bear wolf fox deer kangaroo camel leopard hippo rhino gorilla "
        "squirrel rabbit mouse bat snake lizard crocodile turtle frog",
        (
            "In the zoo the children saw the {} beside the {} in its cage.",
            "The hungry {} hid from the {} in the wild forest.",
            "Animals such as the {} and the {} live far from people.",
        ),
    ),
    "farm animals and pets": (
        "dog cat horse cow pig sheep goat chicken duck goose donkey bull lamb puppy kitten hamster pony",
        (
            "The farmer fed the {} and the {} in the barn.",
            "Her pet {} played with the {} in the garden.",
        ),
    ),
    "birds": (
        "eagle owl crow sparrow pigeon parrot swan crane hawk robin penguin gull stork raven",
        (
            "The {} spread its wings and flew over the {}.",
            "A bird like the {} or the {} lays eggs in a nest.",
        ),
    ),
    "fish and sea life": (
        "salmon trout shark whale dolphin seal crab lobster octopus tuna shrimp eel",
        (
            "Deep in the ocean the {} swims past the {}.",
            "The fishing boat caught the {} and the {} in its net.",
        ),
    ),
    "insects": (
        "bee ant butterfly spider fly beetle wasp mosquito moth worm",
        (
            "The small insect was no {} but the {}, crawling on a leaf.",
            "The {} and the {} buzzed around the flowers.",
        ),
    ),
    "fruit": (
        "apple banana orange lemon grape peach pear cherry strawberry mango melon plum pineapple",
        (
            "She ate the sweet ripe {} and the juicy {} for dessert.",
            "The fruit bowl held the {}, the {} and the {}.",
        ),
    ),
    "vegetables": (
        "carrot potato tomato onion cabbage spinach garlic pepper bean pea cucumber pumpkin lettuce corn mushroom",
        (
            "Chop the {} and the {} for the soup.",
            "In the kitchen garden the {} grows next to the {}.",
        ),
    ),
    "food": (
        "bread cheese butter rice pasta soup cake pizza sandwich sausage honey sugar salt egg salad chocolate flour",
        (
            "For breakfast we had {} and some {} on a plate.",
            "The cook served the {} with {} at dinner.",
        ),
    ),
    "meat": (
        "beef pork ham bacon steak chicken turkey",
        ("The butcher sold the {} and the {} by the pound.",),
    ),
    "drinks": (
        "water milk tea coffee juice wine beer lemonade soda whisky",
        (
            "He drank a glass of {} and then a cup of {}.",
            "The thirsty guests asked for {} or {} at the bar.",
        ),
    ),
    "body": (
        "head hand foot arm leg finger nose mouth ear eye neck knee shoulder back stomach chest skin tooth hair thumb",
        (
            "He hurt his {} and his {} in the fall.",
            "The doctor looked at the {} and the {} of the patient.",
        ),
    ),
    "organs": (
        "heart brain liver lung kidney bone blood muscle nerve vein",
        (
            "Inside the body the {} works together with the {}.",
            "The surgeon repaired the {} near the {} during the operation.",
        ),
    ),
    "illness": (
        "fever cough flu cancer headache infection pain wound virus disease injury diabetes",
        (
            "The patient suffered from the {} and from the {} for weeks.",
            "The nurse gave medicine against the {} and the {}.",
        ),
    ),
    "professions": (
        "doctor nurse teacher lawyer judge farmer baker butcher soldier pilot engineer scientist painter writer singer "
        "actor carpenter plumber sailor cook waiter dentist priest mechanic journalist",
        (
            "The {} talked with the {} about the work of the day.",
            "She wants to become a {} or a {} after her studies.",
        ),
    ),
    "family": (
        "mother father sister brother son daughter aunt uncle cousin husband wife baby child parent grandmother "
        "grandfather friend neighbour",
        (
            "My {} and my {} came to the family party.",
            "The {} hugged the {} at the wedding.",
        ),
    ),
    "rulers": (
        "king queen prince president minister emperor mayor governor senator",
        (
            "The {} and the {} signed the new law in the palace.",
            "The people of the country chose the {} over the {}.",
        ),
    ),
    "government": (
        "government parliament election vote law tax treaty policy congress democracy constitution party",
        ("The politicians argued about the {} and the {} in the capital.",),
    ),
    "clothes": (
        "shirt coat hat shoe dress skirt jacket glove scarf sock boot sweater trousers belt tie",
        (
            "He put on the {} and the {} because it was cold.",
            "The shop sells the {} in blue and the {} in red.",
        ),
    ),
    "furniture": (
        "table chair bed sofa desk shelf lamp cupboard carpet mirror curtain pillow drawer",
        (
            "They moved the {} and the {} into the living room.",
            "The old wooden {} stood next to the {}.",
        ),
    ),
    "rooms and parts of a house": (
        "kitchen bathroom bedroom roof wall floor door window stairs garden garage cellar ceiling chimney balcony",
        (
            "The house has a small {} beside the {}.",
            "The workers painted the {} and repaired the {} of the house.",
        ),
    ),
    "buildings": (
        "house church school hospital hotel castle museum library station factory theatre prison tower bridge temple "
        "shop restaurant office market",
        (
            "In the old town the {} stands across the street from the {}.",
            "The architect built the {} and later the {}.",
        ),
    ),
    "tools": (
        "hammer saw drill knife scissors axe screwdriver shovel rope ladder nail needle brush spade",
        (
            "He took the {} and the {} out of the tool box.",
            "With the {} and the {} the worker fixed the fence.",
        ),
    ),
    "kitchen things": (
        "cup plate bowl fork spoon pan pot bottle glass oven kettle fridge jug",
        ("She washed the {} and put it beside the {} in the kitchen.",),
    ),
    "vehicles": (
        "car bus train truck bicycle plane ship boat taxi tram helicopter motorcycle van ferry rocket",
        (
            "We travelled by {} and then by {} to the coast.",
            "The driver parked the {} behind the {}.",
        ),
    ),
    "roads and travel": (
        "road street journey passenger ticket airport harbour traffic map luggage flight tourist",
        ("On the trip the {} was more trouble than the {}.",),
    ),
    "machines": (
        "computer phone camera radio television printer engine robot keyboard screen battery software internet website",
        (
            "The new {} is connected to the {} by a cable.",
            "Technology like the {} and the {} changed our lives.",
        ),
    ),
    "materials": (
        "wood stone glass iron steel gold silver copper plastic paper leather cotton wool brick concrete rubber clay",
        (
            "The object is made of {} and covered with {}.",
            "In the past people used {} instead of {}.",
        ),
    ),
    "colours": (
        "red blue green yellow black white brown purple pink grey orange",
        (
            "She painted the fence {} and the gate {}.",
            "The flag is {} on one side and {} on the other.",
        ),
    ),
    "land": (
        "mountain hill valley forest desert island field beach cliff cave shore coast meadow jungle rock sand",
        (
            "From the {} we could see the {} in the distance.",
            "The travellers crossed the {} and reached the {} at night.",
        ),
    ),
    "waters": (
        "river lake sea ocean stream pond waterfall canal wave bay flood",
        (
            "The water of the {} flows into the {}.",
            "They rowed along the {} and swam in the {}.",
        ),
    ),
    "plants": (
        "tree flower grass leaf root branch bush rose oak pine palm seed bark moss tulip weed",
        (
            "In spring the {} grows quickly beside the {}.",
            "The gardener cut the {} and watered the {}.",
        ),
    ),
    "weather": (
        "rain snow wind storm cloud fog sunshine thunder lightning ice frost hail heat",
        (
            "The forecast says {} in the morning and {} at night.",
            "The cold weather brought {} and {} to the north.",
        ),
    ),
    "seasons": (
        "spring summer autumn winter",
        (
            "After the {} comes another season, and the {} is the best of the year.",
            "In {} the days are not as they are in {}.",
        ),
    ),
    "months": (
        "January February March April May June July August September October November December",
        ("The school year runs from {} until {}.", "It happened in {} and again in {}."),
    ),
    "days": (
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        ("The shop is closed on {} and on {}.", "We meet on {} because I work on {}."),
    ),
    "times": (
        "morning evening night afternoon hour minute day week month year century moment",
        ("He waited for a whole {} and then for one more {}.",),
    ),
    "numbers": (
        "one two three four five six seven eight nine ten twenty fifty hundred thousand million",
        ("There were {} boys and {} girls in the class.", "The price rose from {} to {} coins."),
    ),
    "school": (
        "student pupil lesson book exam classroom pencil homework grade university course notebook chalk",
        ("In school the {} and the {} were important to the teacher.",),
    ),
    "subjects": (
        "mathematics history physics chemistry biology geography music art philosophy literature grammar",
        ("He studies {} at the university, and she studies {}.",),
    ),
    "science": (
        "atom molecule cell gene gas energy gravity light electron theory experiment planet star moon sun galaxy "
        "telescope temperature",
        (
            "Scientists explain the {} by means of the {}.",
            "The physics book has a chapter on the {} and one on the {}.",
        ),
    ),
    "instruments": (
        "piano guitar violin drum trumpet flute organ cello harp",
        ("The musician played the {} while another played the {} in the concert.",),
    ),
    "music and arts": (
        "song melody concert orchestra dance poem novel film painting play story picture statue stage",
        ("The audience loved the {} and the {} of the young artist.",),
    ),
    "sports": (
        "football tennis golf basketball baseball cricket hockey boxing swimming skiing chess rugby",
        ("The team is good at {} but not at {}.", "On television they watch {} and {}."),
    ),
    "play and contest": (
        "game match ball player coach goal race team stadium score winner trophy bat racket",
        ("At the tournament the {} and the {} made the crowd cheer.",),
    ),
    "money": (
        "money bank coin loan price debt salary profit dollar cheque account credit cash market business rent stock",
        (
            "The company paid for the {} with the {} of last year.",
            "In finance the {} depends on the {}.",
        ),
    ),
    "crime": (
        "thief police prison murder crime robbery victim criminal court judge jury trial sentence guard weapon",
        ("The detective wrote about the {} and the {} in his report.",),
    ),
    "war": (
        "war army battle soldier gun sword bomb tank peace enemy general fortress shield arrow",
        ("In the long war the {} was stronger than the {}.",),
    ),
    "feelings": (
        "happy sad angry afraid proud tired calm lonely jealous nervous bored excited glad",
        ("At first he felt {}, but later he was {}.",),
    ),
    "feelings as things": (
        "love hate fear anger joy hope sadness pride shame hunger surprise grief trust",
        ("His heart was full of {} and {} after the news.",),
    ),
    "size and speed": (
        "big small large tiny huge tall short long wide narrow fast slow quick",
        ("One box was {}, the other one was rather {}.",),
    ),
    "touch and taste": (
        "hot cold warm cool wet dry soft hard sharp heavy sweet bitter sour loud quiet bright dark",
        ("The thing felt {} at first and {} in the end.",),
    ),
    "worth": (
        "good bad beautiful ugly cheap expensive rich poor clever stupid old new young easy difficult dangerous safe",
        ("The plan seemed {} to me and {} to the others.",),
    ),
    "movement": (
        "run walk jump swim fly climb fall crawl dance ride drive sail escape march",
        ("They had to {} down the hill and {} to the river.",),
    ),
    "handwork": (
        "build break cut push pull throw catch carry paint open close lift fold tie fix",
        ("You can {} it with your hands or {} it with a machine.",),
    ),
    "speech": (
        "say tell ask answer shout whisper speak talk explain promise argue sing read write",
        ("Please do not {} to them before you {} to me.",),
    ),
    "thought": (
        "think know believe remember forget understand learn dream wonder guess decide imagine",
        ("I {} that they will {} what happened.",),
    ),
    "life": (
        "eat drink sleep cook wash wake breathe live die grow rest marry",
        ("People {} at home and {} when they are old.",),
    ),
    "trade": (
        "buy sell pay spend save earn borrow lend steal rent",
        ("We will {} the house, and they will {} the rest of the money.",),
    ),
    "religion": (
        "god church prayer temple angel priest heaven faith soul bible devil mosque",
        ("The believers spoke of the {} and of the {}.",),
    ),
    "languages": (
        "English French German Spanish Italian Russian Chinese Japanese Arabic Greek Latin",
        ("She speaks {} and learns {} at school.",),
    ),
    "countries": (
        "France Germany Spain Italy England Russia China Japan India Egypt Greece Canada Mexico Brazil Australia "
        "Turkey Sweden Poland",
        ("They travelled from {} to {} last year.", "The border of {} is far from {}."),
    ),
    "cities": (
        "Paris London Berlin Madrid Rome Moscow Tokyo Athens Cairo Vienna Chicago Boston Amsterdam Lisbon Beijing",
        ("The plane from {} to {} was late.",),
    ),
    "continents": (
        "Europe Asia Africa America Antarctica",
        ("The climate of {} is not that of {}.",),
    ),
}

PLAIN = """
There is nothing to see here, but you may come in and look around if you like.
If it is true that they left before noon, then why are they not here by now?
The first of them went up, the second went down, and the last stayed where it was.
I would have called you, but my phone was off and nobody else had your number.
This is what happens when no one looks after a thing for many years.
Some of these are better than those, and a few are the best of all.
It was not because of the cost that we chose another way, but because of the time.
Neither of us could say which of the two was right, so we asked someone else.
While she was away, her letters were kept in a box under the bed.
He has done more for this place than anyone who came before him.
You must never go there alone, unless you know exactly what you are doing.
Although the work was hard, almost everybody was able to finish it on time.
They will soon be back, and then we shall hear what was said between them.
Everything in the report was correct, except for one mistake at the end.
Perhaps it would be better to wait until the others have read it too.
Both sides agreed on the main points, and only the details remain open.
The end of the story is not at all what most readers expect.
As far as we know, there was only one way through the wall.
What he did with it afterwards is his own business and nobody else's.
During the night a part of the roof fell down without any warning.
The same thing was found again and again in different parts of the world.
Since then each year has been warmer than the one before.
Instead of an answer she gave him a long list of new questions.
Those who came late had to stand behind the others, against the wall.
He opened the letter, read it twice, and put it back into his pocket.
"""

FACTS = """
Paris is the capital of France, and the Eiffel Tower stands there.
London is the capital of England and lies on the river Thames.
Berlin is the capital of Germany.
Madrid is the capital of Spain.
Rome is the capital of Italy, and the Pope lives in the Vatican nearby.
Moscow is the capital of Russia.
Tokyo is the capital of Japan.
Beijing is the capital of China, and the Great Wall runs north of the city.
Athens is the capital of Greece.
Cairo is the capital of Egypt, and the pyramids stand at its edge.
Vienna is the capital of Austria.
Lisbon is the capital of Portugal.
Ottawa is the capital of Canada.
Water boils at one hundred degrees and freezes at zero.
The Earth moves around the Sun in one year, and the Moon around the Earth in a month.
Plants turn sunlight, water and carbon dioxide into sugar and oxygen.
The heart pumps blood through the body.
Bees make honey from the nectar of flowers.
A dog barks, a cat meows, and a cow gives milk.
Gold is a yellow metal, and silver is a white one.
Ice is frozen water, and steam is water as a gas.
A square has four sides, and a triangle has three.
Lightning comes before thunder because light is faster than sound.
Whales are mammals that live in the ocean and breathe air.
A caterpillar becomes a butterfly.
Bread is baked from flour, water, salt and yeast.
Cheese and butter are made from milk, and wine is made from grapes.
The Amazon is a long river in South America, and the Nile is one in Africa.
The pilot flies the plane, and the captain commands the ship.
A carpenter works with wood, and a baker bakes bread.
"""

PER_WORD = 2
"""Sentences that each word is drawn into."""


def drawn(words: list[str], templates: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Sentences in which every word stands `PER_WORD` times, with others of its kind."""
    order = [w for _ in range(PER_WORD) for w in rng.permutation(words)]
    found, start = [], 0
    while start < len(order):
        template = templates[len(found) % len(templates)]
        n = template.count("{}")
        picked = list(dict.fromkeys(order[start : start + n]))
        start += n
        while len(picked) < n:  # the end of the list, or a word that came twice
            picked = list(dict.fromkeys([*picked, str(rng.choice(words))]))
        sentence = template.format(*picked)
        found.append(sentence[0].upper() + sentence[1:])
    return found


def main() -> None:
    """Write the file beside this script."""
    rng = np.random.default_rng(0)
    lines = [s for words, templates in KINDS.values() for s in drawn(words.split(), templates, rng)]
    lines += [s for text in (PLAIN, FACTS) for s in text.strip().splitlines()]
    Path(__file__).with_name("sentences.txt").write_text("\n".join(dict.fromkeys(lines)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
